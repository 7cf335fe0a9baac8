"""What the tests of the loop work with: a sandbox that is a folder, a clock, a task."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.agents.task import Observer, Task
from harness.ports import ExecResult, ModelReply, ModelRequest, SandboxLimits
from harness.sandboxes.bases import Layers
from harness.sandboxes.claim import make_folders
from harness.sandboxes.process import ProcessSandbox
from orchestrator.values import AttemptKey, AttemptLimits, Feature, Tier, Usage

KEY = AttemptKey("greet", 1, 1)
FEATURE = Feature(
    id="greet",
    description="Write hello.txt.",
    steps=("make the file",),
    acceptance=("true",),
    scope=("*.txt",),
)


class FolderSandbox(ProcessSandbox):
    """The sandbox without isolation, in a folder of the test, which remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        layers = Layers((), folder / ".git", folder.parent / "env", installed=True)
        super().__init__("folder", folder.parent / f"{folder.name}.box", layers, SandboxLimits())
        make_folders(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.workdir = str(folder)
        self.commands: list[str | Sequence[str]] = []

    async def exec(self, command: str | Sequence[str], **more: Any) -> ExecResult:
        self.commands.append(command)
        return await super().exec(command, **more)

    def files(self) -> dict[str, str]:
        root = Path(self.workdir)
        return {
            str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()
        }


class StepClock:
    """Time that moves only when somebody sleeps, or by `step` at each look."""

    def __init__(self, step: float = 0.0) -> None:
        self.time = 1_000.0
        self.step = step
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        self.time += self.step
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


Answer = Sequence[Mapping[str, Any]] | Exception | ModelReply


class ScriptModel:
    """A `Model` that gives prepared answers in order; the last one for ever."""

    source = "live"

    def __init__(self, *answers: Answer, worst: float | None = 0.0, cost: float | None = 0.0):
        self.answers = answers
        self.requests: list[ModelRequest] = []
        self.worst = worst
        self.cost = cost

    async def reply(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, ModelReply):
            return answer
        return ModelReply(tuple(answer), "tool_use", "m", Usage(10, 5), self.cost)

    def model_id(self, tier: Tier) -> str:
        return f"test-{tier}"

    def worst_case_usd(self, request: ModelRequest) -> float | None:
        return self.worst

    async def close(self) -> None:
        pass


@dataclass
class Seen:
    """What an observer heard."""

    called: list[int] = field(default_factory=list)
    commands: list[tuple[str, int | None]] = field(default_factory=list)
    retried: list[tuple[str, float]] = field(default_factory=list)

    def observer(self) -> Observer:
        return Observer(
            called=lambda turn, reply, seconds: self.called.append(turn),
            command=lambda what, status, seconds: self.commands.append((what, status)),
            retried=lambda error, wait: self.retried.append((error, wait)),
        )


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def call(name: str, *, name_id: str = "", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": name_id or f"{name}-1", "name": name, "input": given}


def bash(command: str, *, name_id: str = "") -> dict[str, Any]:
    return call("bash", name_id=name_id, command=command)


def submit(summary: str = "done") -> dict[str, Any]:
    return call("submit", summary=summary)


def task(
    folder: Path,
    *,
    feature: Feature = FEATURE,
    key: AttemptKey = KEY,
    limits: AttemptLimits | None = None,
    lessons: tuple[str, ...] = (),
) -> Task:
    return Task(
        key=key,
        feature=feature,
        tier="haiku",
        limits=limits or AttemptLimits(turns=10, seconds=600),
        folder=folder,
        context="A repository of one file.",
        lessons=lessons,
        protected=("tests/acceptance/*",),
    )
