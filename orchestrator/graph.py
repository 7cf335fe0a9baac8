"""Who waits for whom: the DAG of a feature list, what is ready, and the longest way to the end.

Ranks are computed once. Afterwards an event costs no more than the edges of the feature that it
concerns, so a run of 10,000 features pays the same per event as one of ten.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from orchestrator.errors import InputError
from orchestrator.values import Feature

if TYPE_CHECKING:
    import networkx as nx


def cycles(edges: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """One short cycle per knot of features that wait for each other, in the edges' order.

    An edge is (feature, what it depends on). Listing every cycle could take exponential time.
    """
    import networkx as nx  # noqa: PLC0415 - costs 100 ms, which `--help` must not pay

    graph: nx.DiGraph[str] = nx.DiGraph(edges)
    place = {node: i for i, node in enumerate(graph)}
    found: list[tuple[str, ...]] = []
    for knot in nx.strongly_connected_components(graph):
        first = min(knot, key=place.__getitem__)
        if graph.has_edge(first, first):
            found.append((first,))
        elif len(knot) > 1:
            inside = graph.subgraph(knot)
            away = dict(nx.single_target_shortest_path_length(inside, first))
            step = min(inside.successors(first), key=away.__getitem__)
            found.append((first, *nx.shortest_path(inside, step, first)[:-1]))
    return tuple(sorted(found, key=lambda c: place[c[0]]))


def drawn(cycle: Sequence[str]) -> str:
    """`a -> b -> a`; of a long cycle the beginning, how many more, and the return."""
    shown = list(cycle) if len(cycle) <= 12 else [*cycle[:10], f"({len(cycle) - 10} more)"]
    return " -> ".join((*shown, cycle[0]))


class Graph:
    """The DAG of some features; never changes once built.

    Urgency, wherever an order is given: longest remaining path first, then `priority`, then the
    order of the list. `expected` says how long a feature may take beside the others, in any unit;
    without it all are alike. Raises `InputError` for an unknown dependency, a cycle or an id used
    twice.
    """

    def __init__(
        self, features: Sequence[Feature], expected: Callable[[Feature], float] = lambda _: 1.0
    ) -> None:
        self._features = {f.id: f for f in features}
        if len(self._features) != len(features):
            raise InputError("two features have the same id; rename one of them")
        self._graph = _digraph(features)
        self._place = {f.id: i for i, f in enumerate(features)}
        self._rank = self._longest(lambda _: 1.0)
        self._path = self._longest(lambda i: expected(self._features[i]))
        ordered = sorted(self._features, key=self._key)
        self._urgency = {id_: i for i, id_ in enumerate(ordered)}
        self.ids: tuple[str, ...] = tuple(self._features)
        self.by_urgency: tuple[str, ...] = tuple(ordered)

    def __len__(self) -> int:
        return len(self._features)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._features

    def feature(self, id_: str) -> Feature:
        return self._features[id_]

    def depends_on(self, id_: str) -> tuple[str, ...]:
        """Direct dependencies, as written."""
        return self._features[id_].depends_on

    def dependents(self, id_: str, *, direct: bool = False) -> tuple[str, ...]:
        """Who waits for it, directly or over others; most urgent first."""
        import networkx as nx  # noqa: PLC0415 - see `cycles`

        found = self._graph.successors(id_) if direct else nx.descendants(self._graph, id_)
        return tuple(sorted(found, key=self._urgency.__getitem__))

    def urgency(self, id_: str) -> int:
        """Its place in `by_urgency`; smaller goes first."""
        return self._urgency[id_]

    @property
    def depth(self) -> int:
        """Features on the longest path of all; 0 when there are none."""
        return int(max(self._rank.values(), default=0))

    def waves(self, done: Collection[str] = ()) -> tuple[tuple[str, ...], ...]:
        """Levels of what is not done: what could run side by side if every feature took as long.
        For showing only; a run never waits for a whole level."""
        import networkx as nx  # noqa: PLC0415 - see `cycles`

        done = frozenset(done)
        rest = self._graph.subgraph([i for i in self.ids if i not in done])
        return tuple(
            tuple(sorted(level, key=self._urgency.__getitem__))
            for level in nx.topological_generations(rest)
        )

    def order(self, done: Collection[str] = ()) -> tuple[str, ...]:
        """The order in which one feature at a time would be worked on."""
        frontier = Frontier(self, done)
        taken = []
        while (id_ := frontier.take()) is not None:
            taken.append(id_)
            frontier.done(id_)
        return tuple(taken)

    def critical_path(self, weight: Callable[[str], float] | None = None) -> tuple[str, ...]:
        """The heaviest path from a start to an end. `weight` of a feature is at least 0, such as
        its minutes, or 0 once it is done; without it every feature weighs 1."""
        longest = self._longest(weight) if weight else self._rank

        def heaviest(ids: Iterable[str]) -> str | None:
            return min(ids, key=lambda i: (-longest[i], self._urgency[i]), default=None)

        path: list[str] = []
        at = heaviest(i for i in self.ids if not self._features[i].depends_on)
        while at is not None:
            path.append(at)
            at = heaviest(self._graph.successors(at))
        return tuple(path)

    def ready(self, done: Collection[str], started: Collection[str] = ()) -> tuple[str, ...]:
        """What could start now: not done, not started, all dependencies done. Looks at every
        feature once; a loop over events uses a `Frontier`."""
        done, started = frozenset(done), frozenset(started)
        return tuple(
            i
            for i in self.by_urgency
            if i not in done and i not in started and done.issuperset(self.depends_on(i))
        )

    def _key(self, id_: str) -> tuple[float, int, int]:
        return (-self._path[id_], self._features[id_].priority, self._place[id_])

    def _longest(self, weight: Callable[[str], float]) -> dict[str, float]:
        import networkx as nx  # noqa: PLC0415 - see `cycles`

        longest: dict[str, float] = {}
        for id_ in reversed(list(nx.topological_sort(self._graph))):
            after = max((longest[n] for n in self._graph.successors(id_)), default=0.0)
            longest[id_] = weight(id_) + after
        return longest


def _digraph(features: Sequence[Feature]) -> "nx.DiGraph[str]":
    """Edges run from a dependency to its dependents."""
    import networkx as nx  # noqa: PLC0415 - see `cycles`

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(f.id for f in features)
    for feature in features:
        for need in feature.depends_on:
            if need not in graph:
                raise InputError(f"{feature.id} depends on {need}, which is not among the features")
            graph.add_edge(need, feature.id)
    knots = cycles((f.id, need) for f in features for need in f.depends_on)
    if knots:
        raise InputError(f"features wait in a cycle: {drawn(knots[0])}; remove a dependency of it")
    return graph


class Frontier:
    """What is ready, kept up to date event by event; the one mutable thing of this module.

    `done` and `start` may be told the same thing twice, and in any order that a resumed run
    may produce.
    """

    def __init__(self, graph: Graph, done: Collection[str] = ()) -> None:
        self._graph = graph
        self._done = {i for i in done if i in graph}
        self._started: set[str] = set()
        self._missing = {
            i: sum(need not in self._done for need in graph.depends_on(i)) for i in graph.ids
        }
        self._heap = [graph.urgency(i) for i in graph.ready(self._done)]
        heapq.heapify(self._heap)

    def done(self, id_: str) -> tuple[str, ...]:
        """Records that it is integrated; returns what became ready by it, most urgent first."""
        if id_ in self._done:
            return ()
        self._done.add(id_)
        opened = []
        for child in self._graph.dependents(id_, direct=True):
            self._missing[child] -= 1
            if not self._missing[child] and child not in self._done:
                opened.append(child)
        for child in opened:
            heapq.heappush(self._heap, self._graph.urgency(child))
        return tuple(i for i in opened if i not in self._started)

    def start(self, id_: str) -> None:
        """Records that work on it began: it is not offered again."""
        self._started.add(id_)

    def peek(self) -> str | None:
        """The most urgent ready feature, None when nothing is ready."""
        while self._heap:
            id_ = self._graph.by_urgency[self._heap[0]]
            if id_ not in self._done and id_ not in self._started:
                return id_
            heapq.heappop(self._heap)
        return None

    def take(self) -> str | None:
        """`peek`, and `start` what it returned."""
        id_ = self.peek()
        if id_ is not None:
            self.start(id_)
        return id_

    @property
    def ready(self) -> tuple[str, ...]:
        """All that is ready, most urgent first."""
        urgencies = sorted(self._heap)
        ids = (self._graph.by_urgency[u] for u in urgencies)
        return tuple(i for i in ids if i not in self._done and i not in self._started)

    @property
    def waiting(self) -> int:
        """How many are neither done nor started, ready or not."""
        return len(self._missing) - len(self._done | self._started)
