"""Sums up what strategies of routing came to, with intervals, beside single models."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.values import TIERS, Tier


@dataclass(frozen=True)
class Result:
    """Of one task: share of draws in which what was handed in is right, and the mean cost."""

    resolved: float
    usd: float
    ends: Mapping[Tier, float]


def figures(
    results: Sequence[Result], singles: Sequence[Sequence[Result]], seed: int, n: int
) -> Any:
    """Means, and 95 % intervals of them, beside the dearest single model and beside the line
    between the single models, which is drawn anew in each sample of the tasks."""
    size, dear = len(results), max(singles, key=lambda one: sum(r.usd for r in one))
    rng = random.Random(seed)
    samples = [rng.choices(range(size), k=size) for _ in range(n)]

    def interval(figure: Callable[[Sequence[int]], float]) -> list[float]:
        values = sorted(figure(s) for s in samples)
        return [round(values[int(n * q)], 4) for q in (0.025, 0.975)]

    def resolved(s: Sequence[int]) -> float:
        return sum(results[i].resolved for i in s) / size

    def usd(s: Sequence[int]) -> float:
        return sum(results[i].usd for i in s) / size

    def gain(s: Sequence[int]) -> float:
        return resolved(s) - sum(dear[i].resolved for i in s) / size

    def share(s: Sequence[int]) -> float:
        return usd(s) / (sum(dear[i].usd for i in s) / size)

    def line(s: Sequence[int]) -> float:
        points = [
            (sum(one[i].usd for i in s) / size, sum(one[i].resolved for i in s) / size)
            for one in singles
        ]
        return resolved(s) - on_the_line(usd(s), points)

    everything = range(size)
    return {
        "resolve_rate": round(resolved(everything), 4),
        "resolve_rate_95": interval(resolved),
        "usd_per_task": round(usd(everything), 4),
        "usd_per_task_95": interval(usd),
        "resolve_gain_over_dear": round(gain(everything), 4),
        "resolve_gain_over_dear_95": interval(gain),
        "cost_share_of_dear": round(share(everything), 4),
        "cost_share_of_dear_95": interval(share),
        "above_the_line": round(line(everything), 4),
        "above_the_line_95": interval(line),
        "ends": {t: round(sum(r.ends[t] for r in results) / size, 3) for t in TIERS},
    }


def on_the_line(usd: float, singles: Sequence[tuple[float, float]]) -> float:
    """The resolve rate that a mix of single models, (dollars, rate) each, has for `usd` a task: the
    upper hull of their points and of doing nothing."""
    points, best = [(0.0, 0.0), *singles], 0.0
    for x1, y1 in points:
        if x1 <= usd:
            best = max(best, y1)
        for x2, y2 in points:
            if x1 <= usd < x2:
                best = max(best, y1 + (y2 - y1) * (usd - x1) / (x2 - x1))
    return best
