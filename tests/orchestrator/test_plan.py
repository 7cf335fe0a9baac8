"""Rounds, lessons and exit codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import plan
from orchestrator.plan import GiveUp, RoundPlan
from orchestrator.selector import Evidence, select
from orchestrator.values import Defaults, Feature

A = Feature("a", "text")


@given(attempts=st.integers(1, 20), rounds=st.integers(1, 9), quorum=st.integers(1, 20))
def test_attempts_times_rounds_is_a_hard_cap(attempts: int, rounds: int, quorum: int) -> None:
    defaults = Defaults(attempts=attempts, rounds=rounds, quorum=quorum)
    round_: RoundPlan | GiveUp = plan.first_round(A, defaults)
    total = 0
    while isinstance(round_, RoundPlan):
        assert 1 <= round_.quorum <= round_.attempts
        total += round_.attempts
        round_ = plan.next_round(round_, defaults, ["why"], "why")
    assert total == attempts * rounds
    assert "why" in round_.reason


def test_lessons_are_distinct_short_and_the_newest() -> None:
    many = [f"lesson {n}" for n in range(plan.MAX_LESSONS + 5)]
    kept = plan.condense([" same ", "same", "", *many])
    assert kept == tuple(many[-plan.MAX_LESSONS :])
    assert plan.condense(["x" * 5000]) == ("x" * plan.MAX_LESSON_CHARS,)


def test_a_round_is_decided_by_its_quorum_or_by_its_end() -> None:
    round_ = RoundPlan(1, attempts=4, quorum=2)
    assert not plan.is_decided(round_, passed=1, finished=3)
    assert plan.is_decided(round_, passed=2, finished=2)
    assert plan.is_decided(round_, passed=0, finished=4)


def test_red_project_tests_leave_the_decision_to_a_person() -> None:
    red = Evidence("a", True, (False,))
    green = Evidence("b", True, (True,))
    assert plan.for_a_person([red, green]) == [red, green]
    assert [e.acceptance for e in plan.for_a_person([red, Evidence("c", False, ())])] == [(), ()]
    assert select(plan.for_a_person([red])).needs_review


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([], 0),
        (["merged"], 0),
        (["merged", "skipped"], 0),
        (["merged", "failed", "review"], 1),
        (["review", "blocked"], 3),
        (["merged", "blocked"], 1),
    ],
)
def test_exit_code(states: list[plan.FinalState], code: int) -> None:
    assert plan.exit_code(states) == code


def test_a_rejected_attempt_teaches_by_its_problems() -> None:
    assert plan.lessons_of("r1-a01", "done", ["p"]) == ("r1-a01: p",)
    assert plan.lessons_of("r1-a01", "timed out", []) == ("r1-a01: timed out",)
