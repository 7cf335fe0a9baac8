"""Waves: small first, none when it is not needed, and never more than the round may have."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.selection import Policy, Ranked, Selection
from orchestrator.waves import Standing, Wave, is_contested, is_to_compare, next_wave


def test_three_then_four_then_the_rest() -> None:
    assert next_wave(Standing(15, 3)).size == 3
    assert next_wave(Standing(15, 3, started=3)).size == 4
    assert next_wave(Standing(15, 3, started=7)).size == 8
    assert next_wave(Standing(15, 3, started=15)) == Wave(
        0, "all attempts of the round have ended", over=True
    )
    assert not next_wave(Standing(15, 3, started=15, running=1)).over


def test_nothing_is_started_while_those_at_work_can_decide() -> None:
    wait = Standing(15, 3, started=3, running=2, passed=1)
    assert next_wave(wait) == Wave(0, "1 of 3 passed with 2 at work")
    failed = next_wave(Standing(15, 3, started=3, running=2))
    assert failed == Wave(4, "0 of 3 passed with 2 at work, which does not decide")


def test_a_quorum_decides_when_nothing_was_compared() -> None:
    assert next_wave(Standing(15, 3, started=7, running=4, passed=3)) == Wave(
        0, "3 passed", over=True
    )


def test_what_is_sure_enough_needs_no_more() -> None:
    sure = Standing(15, None, started=3, passed=2, confidence=0.85)
    assert next_wave(sure).over
    assert "0.85" in next_wave(sure).why
    assert next_wave(sure, wanted=0.9).size == 4
    nobody = Standing(15, None, started=3, passed=0, confidence=0.85)
    assert next_wave(nobody).size == 4


def test_what_cannot_be_told_apart_is_not_played_to_the_end() -> None:
    blind = Standing(15, None, started=7, passed=2, blind=True)
    assert next_wave(blind).over
    assert "tells them apart" in next_wave(blind).why
    # A second look first, somebody to take, and a comparison that was made at all.
    assert next_wave(replace(blind, started=3)).size == 4
    assert next_wave(replace(blind, passed=0)).size == 8
    assert next_wave(replace(blind, blind=False)).size == 8


def test_passers_are_compared_before_more_is_started_and_before_they_decide() -> None:
    two = Standing(15, 3, started=3, passed=2)
    assert is_to_compare(two)
    assert is_to_compare(Standing(15, 3, started=3, passed=3))
    assert is_to_compare(Standing(15, 3, started=15, running=1, passed=3))
    # Not those of whom the third may still pass, not one alone, and not the same ones again.
    assert not is_to_compare(replace(two, running=1))
    assert not is_to_compare(replace(two, passed=1))
    assert not is_to_compare(two.told(0.5))
    assert is_to_compare(two.told(0.5).begun(4).ended(2, 1))
    # Nor where it cannot spare anything, nor where the list says how many decide.
    assert not is_to_compare(Standing(15, 3, started=15, passed=3))
    assert not is_to_compare(Standing(3, 3, started=3, passed=2))
    assert not is_to_compare(Standing(15, 3, started=3, passed=3, firm=True))
    # All at once: no wave is due, a quorum may still be in doubt.
    assert not is_to_compare(two, exactly=True)
    assert is_to_compare(Standing(15, 3, started=15, running=9, passed=3), exactly=True)


def test_a_quorum_that_disagrees_needs_twice_as_many() -> None:
    three = Standing(15, 3, started=3, passed=3)
    assert next_wave(three.told(0.6)).over
    apart = three.told(0.6, contested=True)
    assert next_wave(apart) == Wave(4, "3 of 3 passed, and 3 did not agree")
    more = apart.begun(4).ended(2, 2)
    assert not next_wave(more).over
    six = more.ended(1, 1)
    assert is_to_compare(six)
    assert next_wave(six.told(0.9)).over
    assert next_wave(six.told(0.6)).over
    last = six.ended(1, 1).told(0.6, contested=True)
    assert next_wave(last).size == 8
    assert last.needed == 14


def test_what_was_said_of_fewer_is_not_said_of_more() -> None:
    """A confidence or a blindness is of those that had ended by then."""
    for told in (
        Standing(15, 3, 3, 0, 2).told(0.7),
        Standing(15, 3, 3, 0, 2).told(None, blind=True),
    ):
        assert told.begun(4) == replace(told, started=7, running=4, confidence=None, blind=False)
        ended = told.begun(4).ended(1, 0)
        assert (ended.confidence, ended.blind, ended.running) == (None, False, 3)


def _selected(consensus: float | None, confidence: float | None, checks: int = 1) -> Selection:
    ranking = (Ranked("a", 1.0, passed=checks, checks=checks),)
    return Selection("a", ranking, consensus, confidence, needs_review=True, reasons=())


@pytest.mark.parametrize(
    ("selection", "policy", "contested"),
    [
        (_selected(0.5, 0.5), Policy(), True),
        (_selected(0.7, 0.5), Policy(), False),
        (_selected(None, None), Policy(), False),
        (_selected(0.5, 0.5), Policy(on_no_consensus="best"), False),
        (_selected(1.0, 0.5), Policy(min_confidence=0.6), True),
        # A person is asked in any case: more attempts settle nothing.
        (_selected(0.5, 0.5, checks=0), Policy(), False),
    ],
)
def test_contested_is_what_more_attempts_may_spare_a_person(
    selection: Selection, policy: Policy, contested: bool
) -> None:
    assert is_contested(selection, policy) == contested


def test_exactly_starts_all_at_once() -> None:
    assert next_wave(Standing(15, 3), exactly=True).size == 15


def test_a_large_quorum_begins_large_and_a_small_round_small() -> None:
    assert next_wave(Standing(15, 5)).size == 5
    assert next_wave(Standing(15, 5, started=5)).size == 4
    assert next_wave(Standing(2, 2)).size == 2


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans(), st.data())
def test_every_round_comes_to_its_end_within_its_most(most, quorum, firm, exactly, data) -> None:
    """However attempts end and compare: a round that is not over never stands still."""
    standing = Standing(most, min(quorum, most), firm=firm)
    looks = 0
    while True:
        if is_to_compare(standing, exactly=exactly):
            looks += 1
            contested, blind = data.draw(st.booleans()), data.draw(st.booleans())
            standing = standing.told(None if blind else 0.5, blind=blind, contested=contested)
        wave = next_wave(standing, exactly=exactly)
        if wave.over:
            break
        standing = standing.begun(wave.size)
        assert standing.started <= most
        assert standing.running, "not over, and nobody at work"
        standing = standing.ended(1, data.draw(st.booleans()))
    # Twice as many each time, and once before each of two waves: comparing has a price too.
    assert looks <= 2 + 6
    assert standing.running == 0 or standing.passed >= 1
