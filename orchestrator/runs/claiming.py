"""Decides which waiting attempts a worker takes, within all limits and fair between runs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Waiting:
    """One attempt that waits. Within its run, smaller `order` goes first; `tier` has its limit."""

    id: str
    run: str
    tier: str
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many attempts may be at work at once: `everywhere` on all machines together, by tier on
    all machines, by run on all machines. What is not named has no limit."""

    everywhere: int | None = None
    tiers: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)


def choose(
    waiting: Iterable[Waiting], at_work: Mapping[tuple[str, str], int], limits: Limits, free: int
) -> list[str]:
    """The ids that a worker with `free` places takes now, in this order.

    `at_work`: how many work by (run, tier), on all machines. Fair between runs: each place goes to
    the run that has the fewest at work, so that a run of a thousand attempts does not starve one
    of three; within a run the most urgent goes first, but for tiers that are full.
    """
    by_run, by_tier = Counter[str](), Counter[str]()
    for (run, tier), count in at_work.items():
        by_run[run] += count
        by_tier[tier] += count
    if limits.everywhere is not None:
        free = min(free, limits.everywhere - by_run.total())
    queues = _queues(waiting)
    taken: list[str] = []
    while len(taken) < free and (next_run := _next_run(queues, by_run, limits)) is not None:
        one = _pop(queues[next_run], by_tier, limits)
        if one is None:
            del queues[next_run]
            continue
        by_run[next_run] += 1
        by_tier[one.tier] += 1
        taken.append(one.id)
    return taken


def _queues(waiting: Iterable[Waiting]) -> dict[str, dict[str, list[Waiting]]]:
    """By run and tier, the most urgent last, where it is taken from."""
    queues: dict[str, dict[str, list[Waiting]]] = {}
    for one in sorted(waiting, key=lambda w: w.order, reverse=True):
        queues.setdefault(one.run, {}).setdefault(one.tier, []).append(one)
    return queues


def _next_run(
    queues: Mapping[str, object], by_run: Mapping[str, int], limits: Limits
) -> str | None:
    open_ = [r for r in queues if r not in limits.runs or by_run[r] < limits.runs[r]]
    return min(open_, key=lambda r: (by_run[r], r), default=None)


def _pop(
    queue: Mapping[str, list[Waiting]], by_tier: Mapping[str, int], limits: Limits
) -> Waiting | None:
    tiers: Sequence[str] = [
        tier
        for tier, ones in queue.items()
        if ones and (tier not in limits.tiers or by_tier[tier] < limits.tiers[tier])
    ]
    best = min(tiers, key=lambda tier: queue[tier][-1].order, default=None)
    return None if best is None else queue[best].pop()
