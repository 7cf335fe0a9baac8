"""Rounds, lessons and exit codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.runs import plan
from orchestrator.runs.plan import GiveUp, RoundPlan
from orchestrator.selector import Evidence, select
from orchestrator.values import (
    AttemptKey,
    AttemptResult,
    CheckResult,
    Defaults,
    Feature,
    Verification,
)

A = Feature("a", "text")


@given(attempts=st.integers(1, 20), rounds=st.integers(1, 9), quorum=st.integers(1, 20))
def test_attempts_times_rounds_is_a_hard_cap(attempts: int, rounds: int, quorum: int) -> None:
    defaults = Defaults(attempts=attempts, rounds=rounds, quorum=quorum)
    round_: RoundPlan | GiveUp = plan.first_round(A, defaults)
    total = 0
    while isinstance(round_, RoundPlan):
        assert 1 <= round_.quorum <= round_.attempts
        total += round_.attempts
        round_ = plan.next_round(round_, defaults.rounds, ["why"], "why")
    assert total == attempts * rounds
    assert "why" in round_.reason


def test_lessons_are_distinct_short_and_the_newest() -> None:
    many = [f"lesson {n}" for n in range(plan.MAX_LESSONS + 5)]
    kept = plan.condense([" same ", "same", "", *many])
    assert kept == tuple(many[-plan.MAX_LESSONS :])
    assert plan.condense(["x" * 5000]) == ("x" * plan.MAX_LESSON_CHARS,)


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


KEY = AttemptKey("a", 1, 1)


def test_an_attempt_teaches_by_its_problems_and_not_by_what_the_harness_broke() -> None:
    red = Verification(usable=True, acceptance=(CheckResult("c", False),), problems=("c: exit 1",))
    green = Verification(usable=True, acceptance=(CheckResult("c", True),), problems=("a note",))
    done = AttemptResult(KEY, "submitted", "done", patch="patch.diff")
    assert plan.lessons_of(done, red) == ("r1-a01: c: exit 1",)
    assert plan.lessons_of(done, green) == ()
    assert plan.lessons_of(done, None) == ()  # could not be verified
    assert plan.lessons_of(AttemptResult(KEY, "limit", "60 turns used"), None) == (
        "r1-a01: 60 turns used",
    )
    assert plan.lessons_of(AttemptResult(KEY, "error", "the sandbox failed"), None) == ()


def test_a_choice_that_came_to_nothing_says_what_happened() -> None:
    red = Evidence("r1-a01", True, (False,))
    found = plan.in_its_words(select([red]), {"r1-a01": "done"}, {"r1-a01": ["c: exit 1", "d"]})
    assert found.reasons[0].endswith("r1-a01, passed 0 of 1: c: exit 1")
    ends = {"r1-a01": "no recording", "r1-a02": "no recording", "r1-a03": "it never ran"}
    found = plan.in_its_words(select([]), ends, {})
    assert found.reasons == (
        "no attempt left anything to choose from: r1-a01: no recording; r1-a03: it never ran",
    )
    green = select([Evidence("r1-a01", True, (True,))])
    assert plan.in_its_words(green, {}, {}) == green
    weak = "make test: judged by its exit status alone"
    told = plan.in_its_words(green, {}, {green.winner or "": ["changes x", weak]})
    assert told.reasons == (*green.reasons, weak)


def test_a_winner_that_changes_what_setup_reads_goes_to_a_person() -> None:
    green = select([Evidence("r1-a01", True, (True,))])
    assert plan.reviewed_setup(green, ()) == green
    found = plan.reviewed_setup(green, ("pyproject.toml", "uv.lock"))
    assert found.needs_review
    assert found.winner == "r1-a01"
    assert "changes pyproject.toml, uv.lock" in found.reasons[-1]
