#!/usr/bin/env python3
"""How often the chosen attempt is right: the selector beside simpler rules, on real model outputs.

    python benchmarks/selection.py [--json] [--draws 20] [--sizes 5 15 30] [--checks 0 1 3]

The selector is the real one (`orchestrator.selector`). All rules see the same evidence, and all but
`random` and `oracle` choose among the usable attempts that passed most trusted checks; where a rule
ties, its share of right ones counts. Intervals: bootstrap over problems, 95 %, paired for the
differences. `data/README.md` names the source of the outputs. `--json` prints one object, last.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # from a fresh checkout, not installed

from benchmarks.samples import DATA, Draw, draws, problems  # noqa: E402
from orchestrator.selector import Evidence, Selection, select  # noqa: E402
from orchestrator.waves import FIRST, SECOND, Standing, next_wave  # noqa: E402

#: By trusted checks, at 15 attempts: what the project set itself.
TARGETS = {0: 42.0, 1: 45.0, 3: 46.5}
TARGET_SIZE = 15
BINS = 5
#: Confidences at which a round that starts in waves may stop.
WANTED = (0.5, 0.6, 0.7, 0.8, 0.9)

#: A rule gives each of the leaders a number; the largest wins.
Rule = Callable[[Draw, Selection, Sequence[int]], Sequence[float]]


# --------------------------------------------------------------------------- the rules


def weights(_draw: Draw, chosen: Selection, leaders: Sequence[int]) -> list[float]:
    """40 coverage, 30 tests, 20 quality, 10 speed, as the selector itself reports them."""
    score = {r.attempt: r.score for r in chosen.ranking}
    return [score[_draw.evidence[i].attempt] for i in leaders]


def tests_passed(draw: Draw, _: Selection, leaders: Sequence[int]) -> list[float]:
    """Model-written tests passed, by how often each was written."""
    return [_passed(draw, i) for i in leaders]


def mbr(draw: Draw, _: Selection, leaders: Sequence[int]) -> list[float]:
    """Mean agreement with every usable attempt on the probes (MBR-exec, Shi et al. 2022)."""
    usable = [e.behaviour for e in draw.evidence if e.usable]
    return [
        sum(_same(draw.evidence[i].behaviour, other) for other in usable) / len(usable)
        for i in leaders
    ]


def codet(draw: Draw, _: Selection, leaders: Sequence[int]) -> list[float]:
    """Root of the attempts with the same outcomes, times the tests they pass (CodeT, Chen et al.
    2023)."""
    outcomes = [e.cross for e in draw.evidence if e.usable]
    return [outcomes.count(draw.evidence[i].cross) ** 0.5 * _passed(draw, i) for i in leaders]


RULES: Mapping[str, Rule] = {
    "weights alone": weights,
    "tests passed": tests_passed,
    "MBR": mbr,
    "CodeT": codet,
}


def _passed(draw: Draw, attempt: int) -> float:
    outcomes = draw.evidence[attempt].cross
    return sum(t.weight for t, passed in zip(draw.tests, outcomes, strict=True) if passed)


def _same(a: Sequence[str | None], b: Sequence[str | None]) -> float:
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a) if a else 1.0


def _leaders(evidence: Sequence[Evidence]) -> list[int]:
    best = max(e.gate for e in evidence)
    return [i for i, e in enumerate(evidence) if e.usable and e.gate == best]


# ------------------------------------------------------------------------- the outcomes


def play(draw: Draw) -> tuple[dict[str, float], float | None]:
    """By rule, the share of right attempts among those it chooses; the selector's confidence."""
    chosen = select(draw.evidence, cross_tests=draw.tests)
    right = {e.attempt: r for e, r in zip(draw.evidence, draw.right, strict=True)}
    found = {
        "selector": float(chosen.winner is not None and right[chosen.winner]),
        "random": float(np.mean(draw.right)),
        "oracle": float(any(draw.right)),
    }
    leaders = _leaders(draw.evidence)
    for name, rule in RULES.items():
        scores = np.round(rule(draw, chosen, leaders), 9) if leaders else np.array([])
        best = [i for i, s in zip(leaders, scores, strict=True) if s == scores.max()]
        found[name] = float(np.mean([draw.right[i] for i in best])) if best else 0.0
    return found, chosen.confidence


def setting(played: Sequence[Draw], resamples: int) -> dict[str, object]:
    """All rules on one size and number of checks, in percent; the confidence's calibration."""
    outcomes = [play(draw) for draw in played]
    problem = np.array([d.problem for d in played])
    names = list(outcomes[0][0])
    by_problem = np.array(
        [[np.mean([outcomes[i][0][n] for i in np.flatnonzero(problem == p)]) for n in names]
         for p in np.unique(problem)]
    )  # fmt: skip
    picks = np.random.default_rng(1).integers(0, len(by_problem), (resamples, len(by_problem)))
    means = 100 * by_problem[picks].mean(1)
    own = means[:, names.index("selector")]
    rules = {
        name: {
            "right": round(100 * float(by_problem[:, j].mean()), 1),
            "right_95": _interval(means[:, j]),
            "selector_ahead_95": _interval(own - means[:, j]),
        }
        for j, name in enumerate(names)
    }
    spoken = [(c, found["selector"]) for found, c in outcomes if c is not None]
    return {"rules": rules, "confidence": calibration(spoken)}


def _interval(values: np.ndarray) -> list[float]:
    return [round(float(v), 1) for v in np.percentile(values, [2.5, 97.5])]


def calibration(said: Sequence[tuple[float, float]]) -> dict[str, object]:
    """Brier score of the confidence beside that of the base rate alone, and by fifths of what was
    said: mean confidence, share right."""
    sure, right = np.array(said).T
    order = np.array_split(np.argsort(sure, kind="stable"), BINS)
    return {
        "brier": round(float(np.mean((sure - right) ** 2)), 4),
        "brier_of_the_base_rate": round(float(right.var()), 4),
        "bins": [
            [round(float(sure[b].mean()), 2), round(float(right[b].mean()), 2)] for b in order
        ],
    }


# --------------------------------------------------------------------------- in waves


def in_waves(played: Sequence[Draw], everything: float) -> dict[str, dict[str, float]]:
    """By the confidence that is wanted: the share of the attempts that are played when a round
    starts in waves, % right, and how far that is from playing all of them (`everything`)."""
    found = {}
    curves = [_prefixes(draw) for draw in played]
    for wanted in WANTED:
        ends = [
            _stop(curve, len(draw.evidence), wanted)
            for curve, draw in zip(curves, played, strict=True)
        ]
        right = 100 * float(np.mean([curve[n][0] for curve, n in zip(curves, ends, strict=True)]))
        share = float(np.mean(ends)) / len(played[0].evidence)
        found[str(wanted)] = {
            "share_played": round(share, 3),
            "right": round(right, 1),
            "change": round(right - everything, 1),
        }
    return found


def _prefixes(draw: Draw) -> dict[int, tuple[bool, float | None, int]]:
    """By attempts played: whether the choice is right, its confidence, and how many passed."""
    right = {e.attempt: r for e, r in zip(draw.evidence, draw.right, strict=True)}
    found = {}
    for n in sorted({FIRST, FIRST + SECOND, len(draw.evidence)}):
        so_far = draw.evidence[:n]
        chosen = select(so_far, cross_tests=draw.tests)
        wins = chosen.winner is not None and right[chosen.winner]
        found[n] = (wins, chosen.confidence, sum(e.passed_all for e in so_far))
    return found


def _stop(curve: dict[int, tuple[bool, float | None, int]], most: int, wanted: float) -> int:
    n = next_wave(Standing(most, None)).size
    while True:
        _, sure, passed = curve[n]
        blind = sure is None
        standing = Standing(most, None, n, passed=passed, confidence=sure, blind=blind)
        size = next_wave(standing, wanted=wanted).size
        if not size:
            return n
        n += size


# --------------------------------------------------------------------------- the report


def main() -> int:
    args = _arguments()
    given = problems(args.data)
    settings: dict[str, dict[str, object]] = {}
    met = {}
    for size in args.sizes:
        for checks in args.checks:
            played = list(draws(given, size, checks, times=args.draws, seed=args.seed))
            found = setting(played, args.resamples)
            settings[f"{size} attempts, {checks} checks"] = found
            rate = found["rules"]["selector"]["right"]  # type: ignore[index]
            if size > FIRST + SECOND:
                found["waves"] = in_waves(played, rate)
            if size == TARGET_SIZE and checks in TARGETS:
                met[str(checks)] = {"target": TARGETS[checks], "selector": rate}
            if not args.json:
                _show(size, checks, found)
    if args.json:
        print(json.dumps({"draws": args.draws, "settings": settings, "targets": met}))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one object, last")
    parser.add_argument("--draws", type=int, default=20, help="of each problem and setting")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 15, 30], help="attempts")
    parser.add_argument("--checks", type=int, nargs="+", default=[0, 1, 3], help="trusted checks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--data", type=Path, default=DATA, help="another file of the same shape")
    return parser.parse_args()


def _show(size: int, checks: int, found: dict[str, dict]) -> None:
    print(f"\n{size} attempts, {checks} trusted checks: % right [95 %], selector ahead by [95 %]")
    rows = sorted(found["rules"].items(), key=lambda item: item[1]["right"])
    for name, row in rows:
        low, high = row["right_95"]
        less, more = row["selector_ahead_95"]
        print(
            f"  {name:14} {row['right']:5.1f} [{low:.1f}, {high:.1f}]   [{less:+.1f}, {more:+.1f}]"
        )
    said = found["confidence"]
    brier, of_the_rate = said["brier"], said["brier_of_the_base_rate"]
    print(f"  confidence: Brier {brier}, of the base rate {of_the_rate}; said and right by fifths:")
    print("   ", ", ".join(f"{said} {right}" for said, right in said["bins"]))
    for wanted, row in found.get("waves", {}).items():
        print(f"  in waves until {wanted}: {row['share_played']:.0%} of the attempts, "
              f"{row['right']} ({row['change']:+})")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
