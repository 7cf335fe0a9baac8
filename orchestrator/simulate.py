"""Plays a DAG on a virtual clock: the order of a real run, or another, and the time it takes."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from orchestrator.graph import Frontier, Graph

#: Smaller goes first among the attempts that could start; called when a feature becomes ready.
Rank = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do: `seconds` of each attempt by feature. A feature is done when all of
    its attempts are, and its dependents may start then."""

    graph: Graph
    seconds: Mapping[str, Sequence[float]]

    @property
    def total(self) -> float:
        return sum(sum(each) for each in self.seconds.values())


def lower_bound(work: Work, workers: int) -> float:
    """No order takes less: the longest chain (of each feature its longest attempt), and all work
    shared without a gap."""
    chain = work.graph.critical_path(lambda i: max(work.seconds[i]))
    return max(sum(max(work.seconds[i]) for i in chain), work.total / workers)


def by_urgency(work: Work, workers: int) -> float:
    """The makespan in the order of a real run: longest remaining path first."""
    return _play(work, workers, lambda i: float(work.graph.urgency(i)))


def first_come(work: Work, workers: int) -> float:
    """The makespan when what became ready first goes first, in the order of the list."""
    turns = count()
    return _play(work, workers, lambda _: float(next(turns)))


def in_waves(work: Work, workers: int) -> float:
    """The makespan when each level of the DAG waits for the whole level before."""
    time = 0.0
    for wave in work.graph.waves():
        free = [0.0] * workers
        for id_ in wave:
            for seconds in work.seconds[id_]:
                heapq.heapreplace(free, free[0] + seconds)
        time += max(free)
    return time


def _play(work: Work, workers: int, rank: Rank) -> float:
    frontier = Frontier(work.graph)
    queue: list[tuple[float, int, str, float]] = []
    running: list[tuple[float, int, str]] = []
    left = Counter({id_: len(each) for id_, each in work.seconds.items()})
    now, turns = 0.0, count()
    while True:
        while (id_ := frontier.take()) is not None:
            place = rank(id_)
            for seconds in work.seconds[id_]:
                heapq.heappush(queue, (place, next(turns), id_, seconds))
        while queue and len(running) < workers:
            _, turn, id_, seconds = heapq.heappop(queue)
            heapq.heappush(running, (now + seconds, turn, id_))
        if not running:
            return now
        now, _, id_ = heapq.heappop(running)
        left[id_] -= 1
        if not left[id_]:
            frontier.done(id_)
