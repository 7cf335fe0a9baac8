"""What the tests of the loop work with: a sandbox that is a folder, a clock, a task."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.agents.task import Observer, Task
from harness.ports import ExecResult, ModelReply, ModelRequest
from orchestrator.errors import SandboxError, SandboxGoneError
from orchestrator.values import AttemptKey, AttemptLimits, Feature, Tier, Usage

KEY = AttemptKey("greet", 1, 1)
FEATURE = Feature(
    id="greet",
    description="Write hello.txt.",
    steps=("make the file",),
    acceptance=("test -f hello.txt",),
    scope=("*.txt",),
)


class FolderSandbox:
    """A `Sandbox` without any isolation: commands run in a folder of the test."""

    id = "folder"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.workdir = str(folder)
        self.base_git = str(folder / ".git")
        self.commands: list[str | Sequence[str]] = []
        self.gone = False

    async def exec(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        timeout: float = 120.0,
        limit: int = 1_000_000,
        on_output: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        self._check()
        self.commands.append(command)
        argv = ["bash", "-c", command] if isinstance(command, str) else list(command)
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=self.workdir,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            return ExecResult(124, b"", b"", timed_out=True)
        return ExecResult(process.returncode or 0, _ends(out, limit), _ends(err, limit))

    async def upload(self, path: str, data: bytes) -> None:
        self._check()
        target = Path(self.workdir, path)
        if target.is_dir():
            raise SandboxError(f"{path} is a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    async def download(self, path: str, *, limit: int = 64_000_000) -> bytes:
        self._check()
        target = Path(self.workdir, path)
        if target.is_dir():
            raise SandboxError(f"{path} is a directory")
        data = target.read_bytes()
        if len(data) > limit:
            raise SandboxError(f"{path} is larger than {limit} bytes")
        return data

    async def destroy(self) -> None:
        self.gone = True

    def _check(self) -> None:
        if self.gone:
            raise SandboxGoneError("the sandbox was destroyed")

    def files(self) -> dict[str, str]:
        root = Path(self.workdir)
        return {
            str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()
        }


def _ends(data: bytes, limit: int) -> bytes:
    """Head and tail with a note between them, as the port asks."""
    half = limit // 2 - 20
    return data if len(data) <= limit else data[:half] + b"\n[... left out ...]\n" + data[-half:]


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
