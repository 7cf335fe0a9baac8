"""A plan waits for a person: asked, answered, rejected with a reason, withdrawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.planner.driving import answered
from harness.planner.reviewing import store
from harness.record.clock import SystemClock
from harness.record.workspace import Workspace
from harness.run_file import options_of
from orchestrator.approval_requests import Answer
from orchestrator.errors import PlanError, RecordingMismatchError
from tests.harness.planner.planning import PREPARED, Scripted, options, plan, read, text_of, wrote


def answer(workspace: Workspace, verdict: Any, reason: str = "") -> str:
    own = store(workspace, SystemClock())
    (asked,) = (a for a in own.all() if a.standing == "pending")
    given = Answer(verdict, "ada", reason, SystemClock().now(), "cli")
    assert own.answer(asked.request.id, given).counted
    return asked.request.id


async def test_a_person_is_asked_before_work_begins(workspace: Workspace) -> None:
    model = Scripted()
    given = options(workspace, approve_plan=True)
    for _ in range(2):
        waiting = await plan(given, model)
        assert not waiting.plan.done and not workspace.feature_list.exists()
        assert len(model.asked) == 5
    (asked,) = store(workspace, SystemClock()).all()
    assert (asked.request.environment, asked.request.id) == ("plan", waiting.plan.request)
    assert ("features", "one, two") in asked.request.facts
    assert answered(workspace) is None
    # A rejection's reason is known to all that write anew.
    answer(workspace, "rejected", "It must not need a database.")
    second = await plan(given, model)
    assert "It must not need a database." in text_of(model.asked[5])
    assert [r.key.number for r in model.asked[5:]] == [1, 2, 3, 4, 5]
    assert not second.plan.done
    assert answered(workspace) is None
    answer(workspace, "approved")
    # Whoever takes the answer in finds what to go on with, and with which options.
    waits = answered(workspace)
    assert waits is not None and options_of(waits.options).approve_plan
    assert (await plan(options_of(waits.options), model)).plan.done
    assert answered(workspace) is None
    assert [f.id for f in read(workspace).features] == ["one", "two"]


async def test_an_approval_is_about_the_list_that_was_shown(workspace: Workspace) -> None:
    """Changed before work begins, it is asked for anew, whatever was answered."""
    given = options(workspace, approve_plan=True)
    await plan(given, model := Scripted())
    first = answer(workspace, "approved")
    other = '{"version": 1, "features": [{"id": "zero", "description": "new", "passes": true}]}\n'
    workspace.feature_list.write_text(other)
    again = await plan(given, model)
    assert not again.plan.done and workspace.feature_list.read_text() == other
    assert again.plan.request not in {first, ""}
    answer(workspace, "approved")
    assert (await plan(given, model)).plan.done
    assert [f.id for f in read(workspace).features] == ["zero", "one", "two"]


async def test_the_recorded_goal_knows_the_reason_of_a_rejection(tmp_path: Path) -> None:
    """As in docs/autopilot.md; to another reason nobody has written an answer."""
    where = Workspace(tmp_path / "mail")
    where.root.mkdir()
    given = options(where, PREPARED, approve_plan=True)
    await plan(given)
    answer(where, "rejected", "Operators need a command that lists what waits")
    second = await plan(given)
    assert not second.plan.done
    answer(where, "approved")
    await plan(given)
    assert "waiting" in [f.id for f in read(where).features]
    assert [v for r, v in wrote(where) if r == "project_manager"] == [1, 2, 3]
    other = Workspace(tmp_path / "other")
    other.root.mkdir()
    await plan(options(other, PREPARED, approve_plan=True))
    answer(other, "rejected", "no")
    with pytest.raises(RecordingMismatchError, match="with --live a model is asked"):
        await plan(options(other, PREPARED, approve_plan=True))


async def test_a_plan_that_has_changed_withdraws_what_was_asked_before(
    workspace: Workspace,
) -> None:
    """An answer to the older one would change nothing: it is not to be given."""
    model, given = Scripted(), options(workspace, approve_plan=True)
    first = (await plan(given, model)).plan.request
    body = {"features": [{"id": "own", "description": "x", "acceptance": ["true"]}]}
    workspace.feature_list.write_text(json.dumps(body), encoding="utf-8")
    second = (await plan(given, model)).plan.request
    found = {a.request.id: a.standing for a in store(workspace, SystemClock()).all()}
    assert found == {first: "superseded", second: "pending"}
    # As it was before: the withdrawn request stays so, and is asked under another name.
    workspace.feature_list.unlink()
    with pytest.raises(PlanError, match=f"{first}: what is planned has changed"):
        await plan(given, model)
    third = (await plan(given, model)).plan.request
    found = {a.request.id: a.standing for a in store(workspace, SystemClock()).all()}
    assert found == {first: "superseded", second: "superseded", third: "pending"}
