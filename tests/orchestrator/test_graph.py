"""Order, readiness and paths of the DAG, against brute force on random graphs."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import InputError
from orchestrator.graph import Frontier, Graph, cycles, drawn
from orchestrator.values import Feature

# A shared machine may be slow; how long an example takes says nothing here.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def feature(id_: str, *needs: str, priority: int = 0) -> Feature:
    return Feature(id_, "x", depends_on=needs, priority=priority)


#   a -> b -> d -> e      f stands alone
#   a -> c -------> e
DIAMOND = [
    feature("f"),
    feature("e", "d", "c"),
    feature("d", "b"),
    feature("c", "a"),
    feature("b", "a"),
    feature("a"),
]


def test_urgency_is_longest_remaining_path_then_priority_then_list_order() -> None:
    graph = Graph(DIAMOND)
    assert graph.by_urgency == ("a", "b", "d", "c", "f", "e")
    urgent = [feature("x", priority=5), feature("y", priority=-1), feature("z", priority=5)]
    assert Graph(urgent).by_urgency == ("y", "x", "z")


def test_paths_levels_and_neighbours() -> None:
    graph = Graph(DIAMOND)
    assert graph.depth == 4
    assert graph.critical_path() == ("a", "b", "d", "e")
    assert graph.critical_path(lambda i: 10.0 if i == "c" else 1.0) == (
        "a",
        "c",
        "e",
    )
    assert graph.waves() == (("a", "f"), ("b", "c"), ("d",), ("e",))
    assert graph.waves(done={"a", "f"}) == (("b", "c"), ("d",), ("e",))
    assert graph.dependents("b") == ("d", "e")
    assert graph.dependents("a", direct=True) == ("b", "c")
    assert graph.depends_on("e") == ("d", "c")
    assert graph.order() == ("a", "b", "d", "c", "f", "e")


def test_ready_needs_all_dependencies_and_leaves_out_what_started() -> None:
    graph = Graph(DIAMOND)
    assert graph.ready(()) == ("a", "f")
    assert graph.ready({"a"}, {"b"}) == ("c", "f")
    assert graph.ready({"a", "b", "d", "f"}, {"c"}) == ()
    assert graph.ready({"a", "b", "c", "d", "f"}) == ("e",)


def test_an_empty_graph_answers_everything() -> None:
    graph = Graph([])
    assert (graph.depth, graph.waves(), graph.critical_path(), graph.ready(())) == (0, (), (), ())
    assert Frontier(graph).take() is None


def test_what_parse_refuses_a_graph_refuses_too() -> None:
    with pytest.raises(InputError, match="b depends on c"):
        Graph([feature("b", "c")])
    with pytest.raises(InputError, match="a -> b -> a"):
        Graph([feature("a", "b"), feature("b", "a")])
    with pytest.raises(InputError, match="a -> a"):
        Graph([feature("a", "a")])
    with pytest.raises(InputError, match="same id"):
        Graph([feature("a"), feature("a")])


def test_a_frontier_yields_what_an_event_opened() -> None:
    frontier = Frontier(Graph(DIAMOND))
    assert frontier.ready == ("a", "f")
    assert frontier.take() == "a"
    assert frontier.ready == ("f",)
    assert frontier.done("a") == ("b", "c")
    assert frontier.done("a") == ()
    assert frontier.peek() == "b"
    assert frontier.ready == ("b", "c", "f")
    assert frontier.waiting == 5


def test_a_frontier_takes_events_in_the_order_of_a_resumed_run() -> None:
    frontier = Frontier(Graph(DIAMOND), done={"a", "gone-from-the-list"})
    frontier.start("b")
    frontier.start("b")
    frontier.start("d")  # the log may know it started before its dependency is told
    assert frontier.done("b") == ()
    assert frontier.ready == ("c", "f")


def test_one_short_cycle_is_told_per_knot() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "a"), ("b", "a"), ("x", "y"), ("y", "x"), ("p", "a")]
    assert cycles(edges) == (("a", "b"), ("x", "y"))
    assert cycles([("a", "a"), ("a", "b")]) == (("a",),)
    assert cycles([("a", "b"), ("b", "c")]) == ()


def test_a_long_cycle_is_drawn_short() -> None:
    assert drawn(["a", "b"]) == "a -> b -> a"
    ring = [str(i) for i in range(3000)]
    (found,) = cycles(zip(ring, ring[1:] + ring[:1], strict=True))
    assert drawn(found).endswith("9 -> (2990 more) -> 0")


@st.composite
def dags(draw: st.DrawFn) -> list[Feature]:
    count = draw(st.integers(1, 9))
    made = [
        feature(
            f"n{i}",
            *draw(
                st.lists(st.sampled_from([f"n{j}" for j in range(i)]), unique=True)
                if i
                else st.just([])
            ),
            priority=draw(st.integers(-1, 1)),
        )
        for i in range(count)
    ]
    return draw(st.permutations(made))


def paths_from(id_: str, features: Sequence[Feature]) -> list[tuple[str, ...]]:
    after = [f.id for f in features if id_ in f.depends_on]
    return [(id_, *rest) for child in after for rest in paths_from(child, features)] or [(id_,)]


@UNTIMED
@given(dags())
def test_ranks_and_critical_path_agree_with_brute_force(features: list[Feature]) -> None:
    graph = Graph(features)
    everything = [p for f in features for p in paths_from(f.id, features)]
    longest = {f.id: max(len(p) for p in everything if p[0] == f.id) for f in features}
    ranks = [longest[i] for i in graph.by_urgency]
    assert ranks == sorted(ranks, reverse=True)
    assert graph.critical_path() in everything
    assert len(graph.critical_path()) == graph.depth == max(len(p) for p in everything)
    assert sorted(i for level in graph.waves() for i in level) == sorted(graph.ids)


@UNTIMED
@given(dags(), st.randoms(use_true_random=False))
def test_a_frontier_agrees_with_ready_at_every_step(features: list[Feature], rng: object) -> None:
    graph = Graph(features)
    frontier = Frontier(graph)
    done: set[str] = set()
    started: set[str] = set()
    while frontier.waiting or started - done:
        assert frontier.ready == graph.ready(done, started)
        before = set(frontier.ready)
        if rng.random() < 0.5 and frontier.peek():  # type: ignore[attr-defined]
            taken = frontier.take()
            assert taken is not None
            assert taken == min(before, key=graph.urgency)
            started.add(taken)
        elif started - done:
            ended = rng.choice(sorted(started - done))  # type: ignore[attr-defined]
            opened = frontier.done(ended)
            done.add(ended)
            assert set(opened) == set(graph.ready(done, started)) - before
            assert list(opened) == sorted(opened, key=graph.urgency)
    assert done == set(graph.ids)


def test_an_event_costs_its_edges_and_not_the_graph() -> None:
    """Counted, not timed: 10,000 features may not be looked at for each that is done."""
    looked = 0

    class Counting(Graph):
        def depends_on(self, id_: str) -> tuple[str, ...]:
            nonlocal looked
            looked += 1
            return super().depends_on(id_)

        def urgency(self, id_: str) -> int:
            nonlocal looked
            looked += 1
            return super().urgency(id_)

    count = 10_000
    graph = Counting([feature(str(i), *([str(i // 2)] if i else [])) for i in range(count)])
    frontier = Frontier(graph)
    built, looked = looked, 0
    while (id_ := frontier.take()) is not None:
        frontier.done(id_)
    assert built < 5 * count
    assert looked < 5 * count
