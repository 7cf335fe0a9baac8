#!/usr/bin/env python3
"""What routing is worth: resolve rate and cost of the router beside single models.

    python benchmarks/routing.py [--json] [--resamples 2000] [--seed 1]

The router is the real one (`orchestrator.model_router`): `classify` chooses the start, `escalate`
each further round. Each task's outcome and cost on each model is what was published for one run
of it; a round is one attempt. The verifier tells the router whether an attempt passed,
and is wrong with the probabilities of its setting. Intervals: bootstrap over tasks, 95 %.
`data/README.md` names the sources. `--json` prints one object, last.
"""

import argparse
import csv
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # from a fresh checkout, not installed

from benchmarks.routing_figures import Result, figures  # noqa: E402
from harness.routing import read_rules  # noqa: E402
from orchestrator.model_router import (  # noqa: E402
    Budget,
    GiveUp,
    Request,
    RoutingSettings,
    Situation,
    classify,
    escalate,
)
from orchestrator.routing.odds import Outcome, RoundOutcome, count  # noqa: E402
from orchestrator.values import TIERS, Tier  # noqa: E402

DATA = ROOT / "benchmarks" / "data"
ROUNDS = 3
#: Noise (a wrong verifier, a random choice) is averaged over this many draws.
DRAWS = 20

#: Dollars per attempt where only outcomes were published: list prices of the three models
#: (1/5, 3/15, 5/25 dollars per million tokens) at the same number of tokens.
PROPORTION: Mapping[Tier, float] = {"haiku": 1.0, "sonnet": 3.0, "opus": 5.0}
#: The same with the prices of the models that the tiers stand for today.
TODAY: Mapping[Tier, float] = {"haiku": 1.0, "sonnet": 17.0, "opus": 35.0}


@dataclass(frozen=True)
class Task:
    """One task: whether each tier's model resolved it, and for how many dollars."""

    name: str
    category: str
    text: str
    resolved: Mapping[Tier, bool]
    usd: Mapping[Tier, float]


@dataclass(frozen=True)
class Verifier:
    """`accepts`: a wrong patch is called right; `rejects`: a right one is called wrong."""

    name: str
    accepts: float = 0.0
    rejects: float = 0.0


PERFECT = Verifier("perfect")
IMPERFECT = Verifier("imperfect", accepts=0.20, rejects=0.05)
BLIND = Verifier("poor", accepts=0.50, rejects=0.15)
Strategy = Callable[[Task, random.Random], tuple[bool, float, Tier]]


# ------------------------------------------------------------------------------ the data


def swebench(models: Mapping[Tier, str]) -> list[Task]:
    return [
        Task(
            name=row["task"],
            category=row["task"].partition("__")[0],
            text="",
            resolved={t: bool(row[m]["resolved"]) for t, m in models.items()},
            usd={t: float(row[m]["usd"]) for t, m in models.items()},
        )
        for row in _rows("swebench_verified_dev.jsonl")
    ]


def terminalbench(price: Mapping[Tier, float]) -> list[Task]:
    return [
        Task(row["task"], "", row["text"], {t: bool(row[t]) for t in TIERS}, price)
        for row in _rows("terminalbench2_tiers_dev.jsonl")
    ]


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


# ------------------------------------------------------------------------- the strategies


def always(tier: Tier) -> Strategy:
    return lambda task, _rng: (task.resolved[tier], task.usd[tier], tier)


def at_random(mix: Mapping[Tier, float]) -> Strategy:
    def play(task: Task, rng: random.Random) -> tuple[bool, float, Tier]:
        tier = rng.choices(TIERS, [mix[t] for t in TIERS])[0]
        return task.resolved[tier], task.usd[tier], tier

    return play


def routed(settings: RoutingSettings, *, checked: bool, verifier: Verifier) -> Strategy:
    """The start by the rules; with a verifier, rounds after it as `escalate` says."""

    def play(task: Task, rng: random.Random) -> tuple[bool, float, Tier]:
        request = Request(task.text or "implement the issue", task.category, checked=checked)
        route = classify(request, "builtin", settings)
        rounds: list[RoundOutcome] = []
        spent = 0.0
        while True:
            tier = route.tier
            spent += task.usd[tier]
            right = task.resolved[tier]
            wrong_verdict = rng.random() < (verifier.rejects if right else verifier.accepts)
            if not checked or right != wrong_verdict or len(rounds) + 1 >= ROUNDS:
                return right, spent, tier
            rounds.append(RoundOutcome(tier, 1, usd=task.usd[tier]))
            prices = {t: task.usd[tier] * settings.price[t] / settings.price[tier] for t in TIERS}
            at = Situation(route, rounds, request)
            left = Budget(None, prices, rounds=ROUNDS - len(rounds))
            decided = escalate(at, left, settings)
            if isinstance(decided, GiveUp) or decided.tier in {r.tier for r in rounds}:
                return right, spent, tier  # one outcome for each model is known: no second try
            route = replace(decided, asked=route.asked)

    return play


def measure(tasks: Sequence[Task], strategy: Strategy, seed: int, draws: int = 1) -> list[Result]:
    rng = random.Random(seed)
    results = []
    for task in tasks:
        played = [strategy(task, rng) for _ in range(draws)]
        ends = {t: sum(end == t for _, _, end in played) / draws for t in TIERS}
        results.append(
            Result(
                sum(right for right, _, _ in played) / draws,
                sum(usd for _, usd, _ in played) / draws,
                ends,
            )
        )
    return results


def learning(tasks: Sequence[Task], settings: RoutingSettings, seed: int) -> list[Result]:
    """The cascade over the tasks in a random order, each routed by what those before it came to.

    Mean of `DRAWS` orders. The category is the task's repository.
    """
    rng = random.Random(seed)
    sums = {task.name: [0.0, 0.0, dict.fromkeys(TIERS, 0.0)] for task in tasks}
    for _ in range(DRAWS):
        outcomes: list[Outcome] = []
        for task in rng.sample(tasks, len(tasks)):
            known = replace(settings, past=count(outcomes))
            right, usd, end = routed(known, checked=True, verifier=PERFECT)(task, rng)
            first = classify(
                Request("implement the issue", task.category, checked=True), "builtin", known
            ).tier
            outcomes += [
                Outcome(tier, task.category, "builtin", task.resolved[tier])
                for tier in TIERS[TIERS.index(first) : TIERS.index(end) + 1]
            ]
            one = sums[task.name]
            one[0] += right / DRAWS
            one[1] += usd / DRAWS
            one[2][end] += 1 / DRAWS
    return [Result(*sums[task.name]) for task in tasks]


def bench(name: str, tasks: list[Task], seed: int, resamples: int, **more: Any) -> dict[str, Any]:
    price = {t: sum(task.usd[t] for task in tasks) / len(tasks) for t in TIERS}
    rules = more.get("rules") or read_rules(ROOT)
    settings = RoutingSettings(rules, price=price)
    patient = replace(settings, rules=_worth(rules, 1.0))
    single = {f"always-{t}": measure(tasks, always(t), seed) for t in TIERS}
    cascade = {
        f"router, {v.name} verifier": measure(
            tasks, routed(settings, checked=True, verifier=v), seed, DRAWS
        )
        for v in (PERFECT, IMPERFECT, BLIND)
    }
    main = cascade["router, perfect verifier"]
    mix = {t: sum(r.ends[t] for r in main) / len(main) for t in TIERS}
    results = {
        **single,
        "random at the router's mix": measure(tasks, at_random(mix), seed, DRAWS),
        "router, words alone": measure(
            tasks, routed(settings, checked=False, verifier=PERFECT), seed
        ),
        **cascade,
        "router, a feature worth $1": measure(
            tasks, routed(patient, checked=True, verifier=PERFECT), seed
        ),
        "two at random, verified": measure(tasks, random_cascade(), seed, DRAWS),
    }
    if tasks[0].category:
        results["router, learning"] = learning(tasks, settings, seed)
    singles = list(single.values())
    table = {n: figures(r, singles, seed, resamples) for n, r in results.items()}
    dear = max(single, key=lambda n: table[n]["usd_per_task"])
    return {"data": name, "tasks": len(tasks), "dear": dear, "strategies": table,
            "target": _target(table)}  # fmt: skip


def random_cascade() -> Strategy:
    """A second try on another model, both chosen blindly: what of the gain is the second try."""

    def play(task: Task, rng: random.Random) -> tuple[bool, float, Tier]:
        first, second = rng.sample(TIERS, 2)
        spent = task.usd[first]
        if task.resolved[first]:
            return True, spent, first
        return task.resolved[second], spent + task.usd[second], second

    return play


def _worth(rules: Any, usd: float) -> Any:
    give_up = rules.give_up.model_copy(update={"worth_usd": usd})
    return rules.model_copy(update={"give_up": give_up})


def _target(table: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """`line`: on or beyond the line between the single models; `beside the dear one`: its resolve
    rate at 60 % of its cost, or a better one at the same cost. Of the points, not of their
    intervals, which stand in the table."""
    found = {}
    for name in ("perfect", "imperfect", "poor"):
        point = table[f"router, {name} verifier"]
        gain, share = point["resolve_gain_over_dear"], point["cost_share_of_dear"]
        beside = (gain >= 0 and share <= 0.6) or (gain > 0 and share <= 1)
        found[name] = {"line": point["above_the_line"] >= 0, "beside the dear one": beside}
    return found


# -------------------------------------------------------------------- labelled requests


def labelled() -> dict[str, Any]:
    """Agreement with labels that we wrote ourselves: a check of the rules, not of quality."""
    with (DATA / "requests.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    settings = RoutingSettings(read_rules(ROOT))
    said = [classify(Request(r["request"]), r["agent"], settings).tier for r in rows]
    halves = {"first half": range(0, len(rows), 2), "second half": range(1, len(rows), 2)}
    return {
        "requests": len(rows),
        "agreement": _agreement(rows, said, range(len(rows))),
        # The rules were written before the labels, by the same people, and not mended after.
        **{f"agreement, {n}": _agreement(rows, said, which) for n, which in halves.items()},
        "share": {t: round(said.count(t) / len(said), 3) for t in TIERS},
        "share of labels": {
            t: round(sum(r["tier"] == t for r in rows) / len(rows), 3) for t in TIERS
        },
        "recall": {
            t: round(
                sum(s == t for r, s in zip(rows, said, strict=True) if r["tier"] == t)
                / sum(r["tier"] == t for r in rows), 3
            )
            for t in TIERS
        },
        "too cheap": round(
            sum(TIERS.index(s) < TIERS.index(r["tier"]) for r, s in zip(rows, said, strict=True))
            / len(rows), 3
        ),
    }  # fmt: skip


def _agreement(rows: Sequence[Mapping[str, str]], said: Sequence[str], which: range) -> float:
    return round(sum(rows[i]["tier"] == said[i] for i in which) / len(which), 3)


# -------------------------------------------------------------------------------- output


def show(found: Mapping[str, Any]) -> None:
    print(f"\n{found['data']}, {found['tasks']} tasks")
    heads = f"{'95 %':>13}{'$/task':>8}{'of dear':>8}{'over line':>10}{'95 %':>13}"
    print(f"{'':27}{'resolved':>8}{heads}")
    for name, p in found["strategies"].items():
        print(
            f"{name:27}{p['resolve_rate']:>8.1%}{_span(p['resolve_rate_95']):>13}"
            f"{p['usd_per_task']:>8.3f}{p['cost_share_of_dear']:>8.0%}"
            f"{p['above_the_line']:>+10.1%}{_span(p['above_the_line_95']):>13}"
        )
    for name, marks in found["target"].items():
        told = ", ".join(f"{mark}: {'yes' if met else 'NO'}" for mark, met in marks.items())
        print(f"{name} verifier: {told}")


def _span(interval: Sequence[float]) -> str:
    return "{:.0f} to {:.0f}".format(*(100 * end for end in interval))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    swe = swebench({"haiku": "gpt-5-mini", "sonnet": "gpt-5", "opus": "sonnet-4-5"})
    found = {
        "swebench": bench(
            "SWE-bench Verified: gpt-5-mini, gpt-5, sonnet-4-5 in the tiers' places",
            swe, args.seed, args.resamples,
        ),
        "terminalbench": bench(
            "Terminal-Bench 2.0: Claude Haiku, Sonnet, Opus 4.5; cost 1 : 3 : 5",
            terminalbench(PROPORTION), args.seed, args.resamples,
        ),
        "terminalbench_today": bench(
            "the same outcomes at the proportion of today's prices, 1 : 17 : 35 (what if)",
            terminalbench(TODAY), args.seed, args.resamples,
        ),
        "labelled": labelled(),
    }  # fmt: skip
    for name in ("swebench", "terminalbench", "terminalbench_today"):
        show(found[name])
    print("\nagreement with our own labels of 200 requests")
    for name, value in found["labelled"].items():
        print(f"  {name}: {value}")
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
