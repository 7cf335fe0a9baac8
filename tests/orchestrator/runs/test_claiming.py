"""Who goes first: within every limit, fair between runs, the most urgent of a run before others."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.runs.claiming import Limits, Waiting, choose


def waiting(run: str, tiers: str, *, urgent: int = 5) -> list[Waiting]:
    return [Waiting(f"{run}/{n}", run, tier, (1, urgent, n)) for n, tier in enumerate(tiers)]


def test_the_most_urgent_first_and_no_more_than_are_free() -> None:
    ones = [*waiting("r", "hh", urgent=9), Waiting("now", "r", "h", (1, 1, 0))]
    assert choose(ones, {}, Limits(), 2) == ["now", "r/0"]
    assert choose(ones, {}, Limits(), 0) == []


def test_what_was_begun_before_goes_before_what_is_urgent() -> None:
    ones = [*waiting("r", "h", urgent=1), Waiting("again", "r", "h", (0, 9, 0))]
    assert choose(ones, {}, Limits(), 1) == ["again"]


def test_a_run_of_many_does_not_starve_a_run_of_few() -> None:
    ones = [*waiting("big", "h" * 50), *waiting("small", "hh")]
    taken = choose(ones, {("big", "h"): 4}, Limits(), 4)
    assert taken == ["small/0", "small/1", "big/0", "big/1"]


def test_limits_everywhere_by_tier_and_by_run() -> None:
    ones = [*waiting("a", "ooohhh"), *waiting("b", "hh")]
    assert len(choose(ones, {("c", "h"): 3}, Limits(everywhere=5), 9)) == 2
    opus = choose(ones, {("c", "o"): 1}, Limits(tiers={"o": 2}), 9)
    assert opus == ["a/0", "b/0", "a/3", "b/1", "a/4", "a/5"]
    assert Counter(i[0] for i in choose(ones, {}, Limits(runs={"a": 1}), 9)) == {"a": 1, "b": 2}
    assert choose(ones, {("b", "h"): 1}, Limits(everywhere=1), 9) == []


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("hso")), max_size=30),
    st.integers(0, 12), st.integers(0, 12), st.integers(0, 5), st.integers(0, 5),
)  # fmt: skip
def test_no_limit_is_ever_passed_and_none_left_unused(
    kinds: list[tuple[str, str]], free: int, everywhere: int, opus: int, run: int
) -> None:
    ones = [Waiting(str(n), r, t, (n,)) for n, (r, t) in enumerate(kinds)]
    limits = Limits(everywhere, {"o": opus}, {"a": run})
    taken = [ones[int(id_)] for id_ in choose(ones, {}, limits, free)]
    by_tier, by_run = Counter(w.tier for w in taken), Counter(w.run for w in taken)
    assert len(set(taken)) == len(taken) <= min(free, everywhere)
    assert by_tier["o"] <= opus
    assert by_run["a"] <= run
    if len(taken) < min(free, everywhere):
        for one in set(ones) - set(taken):
            full = (one.tier == "o" and by_tier["o"] == opus) or (
                one.run == "a" and by_run["a"] == run
            )
            assert full
