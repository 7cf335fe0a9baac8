"""The course of a deployment: no path reaches production without what its strategy demands."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.deploy.course import (
    EXIT_CODES,
    STEPS,
    TOUCHED,
    Deployment,
    Taken,
    answered,
    gives_way,
    is_over,
    next_step,
    status,
    superseded,
    take,
)  # fmt: skip

NEW = Deployment("d1", "r", "c" * 40, "d" * 64, "alice")


def upto(step: str, **more: Any) -> Deployment:
    """All steps before this one went well."""
    before = STEPS[: STEPS.index(step)]  # type: ignore[arg-type]
    return replace(NEW, taken=tuple(Taken(s, True) for s in before), **more)


@pytest.mark.parametrize("step", STEPS)
def test_the_order(step: str) -> None:
    assert next_step(upto(step, strategy="AUTO")) == step


@pytest.mark.parametrize(
    ("strategy", "approved", "goes_on"),
    [
        ("AUTO", False, True), ("OPTIONAL", False, True), ("REQUIRED", False, False),
        ("REQUIRED", True, True), ("EXPERT", False, False), ("EXPERT", True, True),
        (None, False, False), (None, True, False),
    ],
)  # fmt: skip
def test_what_may_be_promoted(strategy: Any, approved: bool, goes_on: bool) -> None:
    for step in ("data", *TOUCHED):
        found = next_step(upto(step, strategy=strategy, approved=approved))
        assert (found == step) == goes_on


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_is_undone_where_production_was_touched(step: str) -> None:
    before = upto(step, strategy="AUTO")
    failed = take(before, Taken(step, False, "why"))  # type: ignore[arg-type]
    undone = step in TOUCHED
    assert next_step(failed) == ("roll_back" if undone else None)
    if undone:
        failed = take(failed, Taken("roll_back", True))
    assert status(failed) == ("rolled_back" if undone else "failed")
    assert is_over(failed) and EXIT_CODES[status(failed)] == 1


def test_a_rejection_and_an_expiry_are_ends() -> None:
    waiting = upto("data", strategy="REQUIRED", request="q")
    assert status(waiting) == "waiting" and EXIT_CODES["waiting"] == 3
    for end in ("rejected", "expired", "superseded"):
        over = answered(waiting, end, "no")  # type: ignore[arg-type]
        assert (status(over), next_step(over), over.reason) == (end, None, "no")
        assert answered(over, "approved") == over
    assert answered(waiting, "pending") == waiting
    assert next_step(answered(waiting, "approved")) == "data"


def test_an_answer_without_a_request_changes_nothing() -> None:
    assert answered(NEW, "approved") == NEW


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (NEW, True),
        (upto("ask"), True),
        (upto("data", strategy="REQUIRED", request="q"), True),
        (upto("data", strategy="EXPERT", request="q", approved=True), False),
        (upto("data", strategy="AUTO"), False),  # the next step touches production
        (upto("switch", strategy="OPTIONAL"), False),
        (upto("data", strategy="REQUIRED", request="q", answer="rejected"), False),
        (replace(NEW, taken=(Taken("suite", False),)), False),
    ],
)
def test_what_gives_way_to_a_newer_commit(now: Deployment, left: bool) -> None:
    assert gives_way(now, "e" * 40) == left
    assert not gives_way(now, now.commit)
    if left:
        over = superseded(now, "the branch has gone on")
        assert (status(over), next_step(over)) == ("superseded", None)
        assert is_over(over) and EXIT_CODES["superseded"] == 1
        assert answered(over, "approved") == over
    else:
        with pytest.raises(ValueError, match="can no longer be left"):
            superseded(now, "the branch has gone on")


def test_a_step_that_is_not_due_cannot_be_taken() -> None:
    for step in (*TOUCHED, "announce"):
        with pytest.raises(ValueError, match="not due"):
            take(upto("data", strategy="REQUIRED", request="q"), Taken(step, True))  # type: ignore[arg-type]


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.booleans()),
        st.tuples(
            st.just("answer"),
            st.sampled_from(["pending", "approved", "rejected", "expired", "superseded"]),
        ),
    ),
    max_size=40,
)


@settings(max_examples=500, deadline=None)
@given(ACTS, st.sampled_from(["AUTO", "OPTIONAL", "REQUIRED", "EXPERT"]))
def test_no_path_reaches_production_without_its_approval(acts: Any, strategy: Any) -> None:
    now, approvals = NEW, 0
    for kind, what in acts:
        if kind == "answer":
            before = now
            now = answered(now, what)
            approvals += now.approved and not before.approved
            continue
        step = next_step(now)
        if step is None:
            continue
        if step in TOUCHED:
            assert now.has("staging_smoke") and now.has("suite") and now.has("scan")
            assert strategy in {"AUTO", "OPTIONAL"} or approvals == 1
            assert not now.answer
        now = take(now, Taken(step, what))
        if step == "ask" and what:
            needs = strategy in {"REQUIRED", "EXPERT"}
            now = replace(now, strategy=strategy, request="q" if needs else "")
    if status(now) == "live":
        assert all(now.has(step) for step in STEPS)
