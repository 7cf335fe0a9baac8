"""Planning as the tests do it: options, models that answer by role, and what came of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.cli.flags import RunOptions
from harness.planner.driving import Planner, Ready, plan_goal
from harness.ports import Model, ModelReply, ModelRequest
from harness.record.clock import SystemClock
from harness.record.journal import read_events
from harness.record.workspace import Workspace
from harness.wiring import choose_model
from orchestrator import events, registry
from orchestrator.features.file import parse
from tests.orchestrator.planner.plan_texts import ANSWERS

PREPARED = "build an  EMAIL notification agent"
GOAL = "Build a thing of two modules"
ROLES = [role.name for role in registry.ROLES]


def options(workspace: Workspace, goal: str = GOAL, **more: Any) -> RunOptions:
    where = workspace.root
    return RunOptions(where, where / "feature_list.json", autopilot=True, goal=goal, **more)


async def red(*_: Any) -> Mapping[str, str]:
    """In the place of the sandbox: all tests fail, as they should before anything is built."""
    return {}


async def plan(given: RunOptions, model: Model | None = None, prove: Any = red) -> Ready:
    def chosen(*words: Any) -> Model:
        return model if model is not None else choose_model(*words)

    return await plan_goal(Planner(replace(given, screen="json"), chosen, SystemClock(), prove))


def read(workspace: Workspace) -> Any:
    return parse(workspace.feature_list.read_text("utf-8"), "list")


def wrote(workspace: Workspace) -> list[tuple[str, int]]:
    (run,) = {r.id for r in workspace.runs()}
    found = read_events(workspace.events(run))
    return [(e.role, e.version) for e in found if isinstance(e, events.DocumentWritten)]


class Scripted:
    """A model that answers by the role that asks, from `answers`; a list is used up in order."""

    source: Any = "scripted"

    def __init__(self, **answers: Any) -> None:
        self.answers = {**ANSWERS, **answers}
        self.asked: list[ModelRequest] = []
        self.before: Callable[[int], None] = lambda _: None

    def model_id(self, tier: str) -> str:
        return f"scripted-{tier}"

    def worst_case_usd(self, request: ModelRequest) -> float | None:
        return 0.0

    async def close(self) -> None:
        return None

    async def reply(self, request: ModelRequest) -> ModelReply:
        self.asked.append(request)
        self.before(len(self.asked))
        content = reply_of(request.tools[0]["input_schema"]["title"], self.answers)
        return ModelReply(tuple(content), "tool_use", request.model, None, 0.0, "scripted")


TITLES = {"Requirements": 0, "Design": 1, "Interfaces": 2, "Tasks": 3, "Tests": 4}


def reply_of(title: str, answers: Any) -> list[dict[str, Any]]:
    answer = answers[registry.ROLES[TITLES[title]].writes]
    answer = answer.pop(0) if isinstance(answer, list) else answer
    return [{"type": "tool_use", "id": "t1", "name": "write_document", "input": answer}]


def text_of(request: ModelRequest) -> str:
    return json.dumps(request.messages)
