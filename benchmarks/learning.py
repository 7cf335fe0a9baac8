#!/usr/bin/env python3
"""What learning is worth: a simulated workspace of 500 features with recurring faults.

    python benchmarks/learning.py [--json] [--features 500] [--seeds 5] [--patterns 100000]

The deciding code is the real one: the index that recalls, the choice of what is told, the hash
that withholds, the comparison that keeps, retires and quarantines; runs are events, folded as
ever. Simulated are the model and the faults. An attempt meets each fault of its feature with
probability 0.5; told of it, it heeds with probability p and then does not. The store begins with
imported patterns of which some are useless (heeded or not, nothing changes) and some harmful
(heeded, they break something else); each new kind of failure becomes a pattern that is right,
or, in the setting that says so, for a tenth of the faults one that is useless or harmful.

The fall of repeated failures compares an attempt with itself: the failures that it would have
repeated, had it been told nothing, and those that it did repeat. Attempts that something was
withheld from are left out, as are failures that nobody knew yet. `--json` prints one object, last.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # from a fresh checkout, not installed

from harness.learn import brief  # noqa: E402
from harness.learn.brief import Brief  # noqa: E402
from harness.learn.index import PatternIndex  # noqa: E402
from orchestrator import events, learning  # noqa: E402
from orchestrator.learn import lift  # noqa: E402
from orchestrator.learn.signatures import Signature  # noqa: E402
from orchestrator.learning import Pattern  # noqa: E402
from orchestrator.runs import state  # noqa: E402
from orchestrator.values import AttemptKey, Feature  # noqa: E402

Worth = Literal["right", "useless", "harmful"]

AREAS, FAULTS_OF_AREA, FAULTS_EVERYWHERE = 10, 3, 10
FEATURES_A_RUN = 50
ATTEMPTS, ROUNDS = 5, 3
#: An attempt meets each fault of its feature, and is broken by each harmful hint that it heeds.
MEETS, HARMS = 0.5, 0.5
#: Attempts that fail in a way that never comes back.
ODD = 0.05
IMPORTED = {"useless": 14, "harmful": 6}
NOW = "2026-01-01T00:00:00+00:00"
SYLLABLES = tuple(c + v for c in "bcdfghjklmnpqrstvwxz" for v in "aeiou")


@dataclass(frozen=True)
class Setting:
    p: float
    features: int = 500
    wrong: float = 0.0  # of the faults' own patterns, half of them useless and half harmful


@dataclass
class Counts:
    """What one world came to."""

    would: int = 0
    did: int = 0
    attempts: int = 0
    told: int = 0
    told_wrong: Counter[str] = field(default_factory=Counter)  # by worth
    merged: int = 0
    status: Counter[tuple[Worth, str]] = field(default_factory=Counter)
    judged: Counter[Worth] = field(default_factory=Counter)  # compared with at least MIN_TRIES


class World:
    """Faults, features, and a model that meets the ones in the others."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting = setting
        self.seed = seed
        rng = random.Random(f"world {seed}")
        self.worth: dict[str, Worth] = {}
        everywhere = [self._fault(rng, "lib", n) for n in range(FAULTS_EVERYWHERE)]
        areas = {
            a: [self._fault(rng, f"area{a}", n) for n in range(FAULTS_OF_AREA)]
            for a in range(AREAS)
        }
        wrong = round(setting.wrong * (len(everywhere) + AREAS * FAULTS_OF_AREA))
        faults = [*everywhere, *(f for own in areas.values() for f in own)]
        for n, fault in enumerate(rng.sample(faults, wrong)):
            self.worth[fault.id] = "useless" if n % 2 else "harmful"
        self.known = {p.id: p for p in self._imported(rng)}
        self.features = [
            self._feature(rng, n, areas[n % AREAS], everywhere) for n in range(setting.features)
        ]

    def _fault(self, rng: random.Random, place: str, number: int) -> Pattern:
        words = " ".join("".join(rng.choices(SYLLABLES, k=3)) for _ in range(4))
        signature = Signature("value", "ValueError", f"{place}.m{number}:f", words)
        made = replace(
            learning.by_rules(signature),
            title=f"Mind the {words}",
            files=(f"{place}/m{number}.py",) if place != "lib" else (),
        )
        self.worth[made.id] = "right"
        return made

    def _imported(self, rng: random.Random) -> Iterable[Pattern]:
        for worth, count in IMPORTED.items():
            for n in range(count):
                made = self._fault(rng, f"area{(n + (worth == 'harmful')) % AREAS}", 100 + n)
                self.worth[made.id] = worth  # type: ignore[assignment]
                # They were met before, so that they are tried before what happened once.
                yield replace(made, by="import", runs={learning.EARLIER: lift.Tally(hits=3)})

    def _feature(
        self, rng: random.Random, n: int, own: Sequence[Pattern], others: Sequence[Pattern]
    ) -> tuple[Feature, list[Pattern]]:
        """A feature of one area; its text has the words of what it uses from everywhere."""
        met = [*rng.sample(own, 2), *rng.sample(others, rng.choice((0, 1)))]
        words = " ".join(p.signature.message for p in met if not p.files)
        feature = Feature(
            f"f{n:04d}", f"Build part {n} with {words}".strip(), scope=(f"area{n % AREAS}/*.py",)
        )
        return feature, met

    def chance(self, *what: object) -> float:
        """The same draw whoever asks again: with and without what was told, the same attempt."""
        return random.Random(f"{self.seed} {what}").random()

    def heeds(self, key: AttemptKey, pattern: str) -> bool:
        return self.chance("heeds", key, pattern) < self.setting.p

    def would_fail(self, key: AttemptKey, met: Sequence[Pattern]) -> list[Pattern]:
        return [fault for fault in met if self.chance("meets", key, fault.id) < MEETS]


class Play:
    """Plays a world's features, run by run, as the harness does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: dict[str, Pattern] = dict(world.known)
        self.index = PatternIndex()
        self.counts = Counts()
        self.odd = 0

    def play(self) -> Counts:
        features = self.world.features
        for start in range(0, len(features), FEATURES_A_RUN):
            self._run(f"2026-{start:06d}", features[start : start + FEATURES_A_RUN])
        self.index.close()
        self._judge_the_judge()
        return self.counts

    def _run(self, run: str, features: Sequence[tuple[Feature, list[Pattern]]]) -> None:
        listed: dict[str, Any] = {f.id: {"attempts": ATTEMPTS} for f, _ in features}
        self.run = run
        self.state = state.fold(
            [events.RunStarted(repo="", branch="", base="", features=listed, time=NOW, run=run)]
        )
        for feature, met in features:
            self._write(events.FeatureStarted(feature=feature.id))
            for round_ in range(1, ROUNDS + 1):
                if self._round(feature, round_, met):
                    self.counts.merged += 1
                    break

    def _write(self, event: events.Event) -> None:
        self.state = state.apply(self.state, replace(event, time=NOW, run=self.run))

    def _round(self, feature: Feature, round_: int, met: Sequence[Pattern]) -> bool:
        seen = {
            s: {a.name: "failed"}
            for a in self.state.features[feature.id].attempts.values()
            for s in a.signatures
        }
        self.index.refresh(dict(self.known))
        told = tuple(learning.choose(self.index.find(feature, list(seen)), seen))
        known = frozenset(self.known)
        whole = Brief("", (), told, ATTEMPTS)
        keys = [AttemptKey(feature.id, round_, n) for n in range(1, ATTEMPTS + 1)]
        passed = [self._attempt(key, brief.share(self.run, key, whole), met, known) for key in keys]
        for id_, tally in lift.tallies(self.state).items():
            self.known[id_] = learning.counted(self.known[id_], self.run, tally, NOW)
        return any(passed)

    def _attempt(
        self, key: AttemptKey, given: brief.Share, met: Sequence[Pattern], known: frozenset[str]
    ) -> bool:
        world, counts = self.world, self.counts
        heeded = {p.id for p in given.shown if world.heeds(key, p.id)}
        right = {id_ for id_ in heeded if world.worth[id_] == "right"}
        would = world.would_fail(key, met)
        failed = [fault for fault in would if fault.id not in right]
        counts.attempts += 1
        counts.told += len(given.shown)
        counts.told_wrong.update(world.worth[p.id] for p in given.shown)
        if not given.withheld:
            counts.would += sum(fault.id in known for fault in would)
            counts.did += sum(fault.id in known for fault in failed)
        broken = [
            Signature("other", "HarmError", "x:y", f"after {id_}")
            for id_ in sorted(heeded)
            if world.worth[id_] == "harmful" and world.chance("harm", key, id_) < HARMS
        ]
        if world.chance("odd", key) < ODD:
            self.odd += 1
            broken.append(Signature("other", "OddError", f"{key.feature}:f", f"odd {self.odd}"))
        self._record(key, given, [*failed, *map(learning.by_rules, broken)])
        return not failed and not broken

    def _record(self, key: AttemptKey, given: brief.Share, failed: Sequence[Pattern]) -> None:
        at: dict[str, Any] = {"feature": key.feature, "attempt": key.name}
        self._write(events.AttemptStarted(model="m", agent="a", **at))
        for used in brief.used(key, given):
            self._write(used)
        self._write(
            events.AttemptFinished(
                ending="submitted", reason="", turns=1, seconds=1, cost_usd=0, patch=True, **at
            )
        )
        self._write(events.VerificationStarted(**at))
        self._write(
            events.VerificationFinished(
                usable=True,
                passed=not failed,
                checks_passed=int(not failed),
                checks=1,
                coverage=None,
                quality=None,
                seconds=1,
                **at,
            )
        )
        for pattern in failed:
            self._write(events.FailureSigned(signature=pattern.id, kind="other", **at))
            if pattern.id not in self.known:
                self.world.worth.setdefault(pattern.id, "useless")
                placed = replace(pattern, learned=NOW, features=(key.feature,))
                if not pattern.files and pattern.signature.kind == "other":
                    placed = replace(placed, files=(f"area{int(key.feature[1:]) % AREAS}/x.py",))
                self.known[pattern.id] = placed

    def _judge_the_judge(self) -> None:
        for pattern in self.known.values():
            total = pattern.total
            if min(total.shown.tries, total.withheld.tries) >= lift.MIN_TRIES:
                worth = self.world.worth[pattern.id]
                self.counts.judged[worth] += 1
                self.counts.status[worth, pattern.status] += 1


# --------------------------------------------------------------------------------- figures


def shares(all_: Sequence[Counts], worth: Worth) -> dict[str, float]:
    """Of the patterns of this worth that were compared, how many ended how."""
    judged = sum(c.judged[worth] for c in all_)
    ends = Counter[str]()
    for counts in all_:
        for (w, status), n in counts.status.items():
            if w == worth:
                ends[status] += n
    named = ("kept", "trial", "retired", "quarantined")
    return {"patterns": judged, **{s: ends[s] / judged if judged else 0.0 for s in named}}


def figures(setting: Setting, seeds: int) -> dict[str, Any]:
    told = [Play(World(setting, seed)).play() for seed in range(seeds)]
    falls = [1 - c.did / c.would for c in told]
    return {
        "p": setting.p,
        "wrong": setting.wrong,
        "seeds": seeds,
        "features": setting.features,
        "fall": statistics.mean(falls),
        "fall_least": min(falls),
        "attempts_per_merged": sum(c.attempts for c in told) / sum(c.merged for c in told),
        "merged": sum(c.merged for c in told) / seeds,
        "told_per_attempt": sum(c.told for c in told) / sum(c.attempts for c in told),
        "right_of_told": (
            sum(c.told_wrong["right"] for c in told) / max(1, sum(c.told for c in told))
        ),
        "right": shares(told, "right"),
        "useless": shares(told, "useless"),
        "harmful": shares(told, "harmful"),
    }


def retrieval(count: int) -> Mapping[str, float]:
    """Milliseconds to find and choose the patterns of a feature among `count`."""
    rng = random.Random(1)
    words = ["".join(rng.choices(SYLLABLES, k=3)) for _ in range(20_000)]
    common = rng.sample(words, 200)

    def text(n: int) -> str:
        return " ".join([*rng.choices(words, k=n), *rng.choices(common, k=n // 2)])

    patterns = {}
    for n in range(count):
        signature = Signature("value", "ValueError", f"pkg{n % 997}.mod{n}:f", f"m{n}")
        made = learning.by_rules(signature)
        patterns[made.id] = replace(
            made,
            title=text(6),
            what=text(8),
            fix=text(8),
            files=(f"pkg{n % 997}/mod{n % 40}.py",),
            features=(f"f{n % 5000}",),
        )
    ids = list(patterns)
    index = PatternIndex()
    began = time.perf_counter()
    index.refresh(patterns)
    built = time.perf_counter() - began
    wall, cpu = [], []
    for n in range(500):
        feature = Feature(f"f{n}", text(20), steps=(text(10),), scope=(f"pkg{n}/*.py", "pkg1/**"))
        seen = {id_: {"r1-a01": "x"} for id_ in rng.sample(ids, 2)}
        began, busy = time.perf_counter(), time.thread_time()
        learning.choose(index.find(feature, list(seen)), seen)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.thread_time() - busy))
    index.close()
    wall.sort()
    cpu.sort()
    return {
        "patterns": count,
        "build_seconds": built,
        "p50_ms": wall[250],
        "p99_ms": wall[495],
        "p50_cpu_ms": cpu[250],
        "p99_cpu_ms": cpu[495],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--features", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--patterns", type=int, default=100_000)
    args = parser.parse_args()
    settings = [
        *(Setting(p, args.features) for p in (0.0, 0.5, 0.9, 1.0)),
        Setting(0.9, args.features, wrong=0.1),
    ]
    found = [figures(setting, args.seeds) for setting in settings]
    speed = retrieval(args.patterns)
    for one in found:
        print(_line(one))
    print(
        f"retrieval among {args.patterns:,} patterns: p50 {speed['p50_ms']:.2f} ms, "
        f"p99 {speed['p99_ms']:.2f} ms (CPU {speed['p50_cpu_ms']:.2f} and "
        f"{speed['p99_cpu_ms']:.2f} ms; index built in {speed['build_seconds']:.1f} s)"
    )
    at = next(one for one in found if (one["p"], one["wrong"]) == (0.9, 0.0))
    met = at["fall"] >= 0.8 and speed["p99_cpu_ms"] < 10  # others may use this machine too
    print(f"mark (80% at p=0.9, below 10 ms): {'met' if met else 'MISSED'}")
    if args.json:
        print(json.dumps({"settings": found, "retrieval": speed, "met": met}))
    return 0


def _line(one: Mapping[str, Any]) -> str:
    parts = [
        f"p={one['p']}, {one['wrong']:.0%} of lessons wrong: repeated failures fall by "
        f"{one['fall']:.1%} (least {one['fall_least']:.1%}); attempts per merged feature "
        f"{one['attempts_per_merged']:.2f}, of what it was told {one['right_of_told']:.0%} right"
    ]
    for worth in ("right", "useless", "harmful"):
        ends = one[worth]
        shown = ", ".join(
            f"{ends[s]:.0%} {s}" for s in ("kept", "trial", "retired", "quarantined") if ends[s]
        )
        parts.append(f"    {worth:8} {ends['patterns']:5} compared: {shown}")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
