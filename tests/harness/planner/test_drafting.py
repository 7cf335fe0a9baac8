"""Documents that are paid for once: through crashes, faults of the provider, within the budget."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.models.anthropic_api import AnthropicModel
from harness.planner.driving import Planner, plan_goal
from harness.record.budget import BudgetBook
from harness.record.clock import SystemClock
from harness.record.journal import read_events
from harness.record.workspace import Workspace
from orchestrator.errors import LimitReachedError
from orchestrator.reporting.cost_analysis import ledger
from orchestrator.runs import state
from tests.emulators import messages_api as api
from tests.emulators.messages_api import MessagesServer
from tests.harness.planner.planning import (
    ROLES,
    options,
    plan,
    read,
    red,
    reply_of,
    wrote,
)
from tests.orchestrator.planner.plan_texts import ANSWERS

ROOT = Path(__file__).resolve().parents[3]
#: Where a process dies for each document, and at the end.
DEATHS = {
    "product_requirements v1 kept", "system_design v1 noted", "api_specification v1 paid for",
    "task_breakdown v1 kept", "test_plan v1 noted", "landed", "done",
}  # fmt: skip


class Killed(BaseException):
    """The process died here."""


@asynccontextmanager
async def live(**faults: Any) -> AsyncIterator[tuple[MessagesServer, AnthropicModel]]:
    """A model over a socket, whose calls cost money."""

    def respond(request: dict[str, Any]) -> Any:
        return reply_of(request["tools"][0]["input_schema"]["title"], dict(ANSWERS))

    async with MessagesServer(respond, **faults) as server:
        env = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k"}
        yield server, AnthropicModel(env)


def spent(workspace: Workspace) -> float:
    book = BudgetBook(workspace.logs / "budget.sqlite")
    try:
        (run,) = workspace.runs()
        return book.spent(f"run {run.id}")
    finally:
        book.close()


async def test_a_plan_that_dies_at_every_point_in_turn_pays_for_each_answer_once(
    workspace: Workspace,
) -> None:
    """After an answer is on file: before it is noted, before it is paid for, and so on."""
    points: set[str] = set()
    async with live() as (server, _):
        env = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k"}
        while True:

            def die_once(point: str) -> None:
                if point in DEATHS - points:
                    points.add(point)
                    raise Killed

            given = options(workspace, screen="json")
            planner = Planner(given, lambda *_: AnthropicModel(env), SystemClock(), red, die_once)
            try:
                await plan_goal(planner)
                break
            except Killed:
                continue
        assert len(server.requests) == len(ROLES)
        assert points == DEATHS
    assert wrote(workspace) == [(role, 1) for role in ROLES]
    (run,) = workspace.runs()
    happened = list(read_events(run.events))
    costs = [call.cost_usd or 0.0 for call in ledger(happened).calls]
    assert spent(workspace) == pytest.approx(sum(costs)) and min(costs) > 0
    assert state.fold(happened).cost_usd == pytest.approx(sum(costs))
    assert [f.id for f in read(workspace).features] == ["one", "two"]


PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from harness.cli.flags import RunOptions
from harness.models.anthropic_api import AnthropicModel
from harness.planner.driving import Planner, plan_goal
from harness.record.clock import SystemClock

def noted(point):
    if point == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

root = Path(sys.argv[1])
given = RunOptions(root, root / "feature_list.json", goal="Build it now", screen="json")

async def red(*words):
    return {}

asyncio.run(plan_goal(Planner(given, lambda *_: AnthropicModel(), SystemClock(), red, noted)))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "point",
    ["system_design v1 kept",
     *(pytest.param(p, marks=pytest.mark.slow) for p in ("test_plan v1 noted", "landed"))],
)  # fmt: skip
async def test_kill_9_repeats_no_call_and_pays_for_each(workspace: Workspace, point: str) -> None:
    async with live() as (server, _):
        env = {
            **os.environ, "PYTHONPATH": str(ROOT), "ANTHROPIC_BASE_URL": server.url,
            "ANTHROPIC_API_KEY": "k",
        }  # fmt: skip
        for word, code in ((point, -9), ("never", 0)):
            program = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, str(workspace.root), word, env=env,
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            assert await program.wait() == code
        assert len(server.requests) == len(ROLES)
    (run,) = workspace.runs()
    costs = [call.cost_usd or 0.0 for call in ledger(read_events(run.events)).calls]
    assert len(costs) == len(ROLES) and spent(workspace) == pytest.approx(sum(costs))


async def test_the_budget_holds_for_planning_too(workspace: Workspace) -> None:
    async with live() as (server, model):
        with pytest.raises(LimitReachedError):
            await plan(options(workspace, budget_usd=0.001), model)
        assert server.requests == []


async def test_an_overloaded_provider_is_asked_again(workspace: Workspace) -> None:
    async with live(faults={2: api.rate_limited(0)}) as (server, model):
        await plan(options(workspace), model)
        assert len(server.requests) == len(ROLES) + 1
