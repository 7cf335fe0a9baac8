"""Waves: small first, none when it is not needed, and never more than the round may have."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.waves import Standing, Wave, next_wave


def test_three_then_four_then_the_rest() -> None:
    assert next_wave(Standing(15, 3)).size == 3
    assert next_wave(Standing(15, 3, started=3)).size == 4
    assert next_wave(Standing(15, 3, started=7)).size == 8
    assert next_wave(Standing(15, 3, started=15)).size == 0


def test_nothing_is_started_while_those_at_work_can_decide() -> None:
    assert next_wave(Standing(15, 3, started=3, running=2, passed=1)).size == 0
    failed = next_wave(Standing(15, 3, started=3, running=2))
    assert failed == Wave(4, "0 of 3 passed with 2 at work, which does not decide")


def test_what_is_sure_enough_needs_no_more() -> None:
    sure = Standing(15, None, started=3, passed=2, confidence=0.85)
    assert next_wave(sure).size == 0
    assert "0.85" in next_wave(sure).why
    assert next_wave(sure, wanted=0.9).size == 4
    nobody = Standing(15, None, started=3, passed=0, confidence=0.85)
    assert next_wave(nobody).size == 4


def test_what_cannot_be_told_apart_is_not_played_to_the_end() -> None:
    blind = Standing(15, None, started=7, passed=2, compared=True)
    assert next_wave(blind).size == 0
    assert "tells them apart" in next_wave(blind).why
    # A second look first, somebody to take, and a comparison that was made at all.
    assert next_wave(replace(blind, started=3)).size == 4
    assert next_wave(replace(blind, passed=0)).size == 8
    assert next_wave(replace(blind, compared=False)).size == 8


def test_exactly_starts_all_at_once() -> None:
    assert next_wave(Standing(15, 3), exactly=True).size == 15


def test_a_large_quorum_begins_large_and_a_small_round_small() -> None:
    assert next_wave(Standing(15, 5)).size == 5
    assert next_wave(Standing(15, 5, started=5)).size == 4
    assert next_wave(Standing(2, 2)).size == 2


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_every_round_comes_to_its_end_within_its_most(most, quorum, data) -> None:
    """However attempts end: a round that is not decided never stands still."""
    quorum = min(quorum, most)
    started = running = passed = 0
    while passed < quorum and (running or started < most):
        wave = next_wave(Standing(most, quorum, started, running, passed))
        started, running = started + wave.size, running + wave.size
        assert started <= most
        assert running, "undecided, and nobody at work"
        running -= 1
        passed += data.draw(st.booleans())
