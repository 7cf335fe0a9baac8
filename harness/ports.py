"""The seams: narrow Protocols; adapters stand behind them, and fakes pass the same tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from orchestrator.values import AttemptKey, Tier, Usage

# ---------------------------------------------------------------- sandboxes


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Of one sandbox. A provider refuses what its capabilities say it cannot hold."""

    memory_mb: int = 2048
    processes: int = 256
    open_files: int = 4096
    file_mb: int = 1024  # the largest single file
    disk_mb: int = 4096  # all files written in the workspace
    network: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider holds; a limit that is "none" is refused when asked for."""

    isolation: Literal["full", "none"]
    network_off: bool
    limits: Mapping[str, Literal["enforced", "watched", "none"]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """What a base is made of: one commit of one repository and the setup that prepares it."""

    repo: Path
    commit: str
    setup: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    setup_timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class Base:
    """A prepared, read-only starting point. `handle` belongs to the provider.

    `folder` is a host folder beside the base where facts about it are cached by name
    (the tests that pass on it, for example).
    """

    id: str
    commit: str
    folder: Path
    handle: Any = None


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command did. `exit` is the exit status, 128+N for signal N, 124 when timed out.

    `out` and `err` are at most `limit` bytes each: head and tail with a note between them.
    """

    exit: int
    out: bytes
    err: bytes
    timed_out: bool = False
    truncated: bool = False
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Standard output, decoded leniently."""
        return self.out.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        return self.exit == 0 and not self.timed_out


class Sandbox(Protocol):
    """One isolated workspace: the repository at `workdir`, a clean copy of its git directory,
    which nothing inside can write, at `base_git`, HOME and TMPDIR of its own.

    Files persist between commands; processes do not: whatever a command started ends with it.
    Paths are relative to `workdir` or absolute inside the sandbox. Raises `SandboxError` when
    the sandbox fails; a command that fails is a value. `reopened`: its files are from before.
    """

    id: str
    reopened: bool
    workdir: str
    base_git: str

    async def exec(  # noqa: PLR0913 - one command has this many facts; all but one are optional
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
        """Run a shell line (`str`, by `bash -c`, else `sh -c`) or an argument list."""
        ...

    async def upload(self, path: str, data: bytes) -> None: ...

    async def download(self, path: str, *, limit: int = 64_000_000) -> bytes:
        """Raises `FileNotFoundError`, or `SandboxError` when larger than `limit` bytes."""
        ...

    async def destroy(self) -> None:
        """Idempotent. Afterwards every other method raises `SandboxGoneError`."""
        ...


class SandboxProvider(Protocol):
    name: str

    @property
    def capabilities(self) -> Capabilities: ...

    async def prepare(self, spec: BaseSpec) -> Base:
        """Prepared once per spec and cached across runs. Raises `SandboxError` if setup fails."""
        ...

    async def create(
        self,
        base: Base,
        key: str,
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> Sandbox:
        """Opens the workspace named `key`; when it exists from before a crash, reopens it as it
        was. A key in use by a live process raises `SandboxError`."""
        ...

    async def snapshot(self, sandbox: Sandbox) -> Base:
        """The sandbox's present files as a base to fork from; the sandbox must not run on.
        The base lives as long as the sandbox is not destroyed."""
        ...

    async def reap(self) -> int:
        """Remove what dead processes left of this provider's own namespace; how many removed."""
        ...

    async def close(self, *, remove: bool = False) -> None:
        """Let go of everything; `remove` also removes the workspaces of this namespace, which
        otherwise wait to be reopened. Idempotent."""
        ...


# ------------------------------------------------------------------- models


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question. `messages`, `tools` and `system` have the shapes of Anthropic's Messages API.

    `key` and `turn` say who asks (turn from 1); no adapter but the recorded one may look.
    `input_bound`: it has at most this many tokens, where that is known from earlier answers.
    """

    key: AttemptKey
    turn: int
    model: str
    system: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int = 16_000
    input_bound: int | None = None


@dataclass(frozen=True, slots=True)
class ModelReply:
    """One answer. `content` are Messages API blocks; `source` says who really said it.

    `usage` None is unknown usage; `cost_usd` None is unknown cost. Neither is ever zero then.
    """

    content: tuple[Mapping[str, Any], ...]
    stop_reason: str
    model: str
    usage: Usage | None
    cost_usd: float | None
    source: Literal["live", "recorded", "scripted"] = "live"


class Model(Protocol):
    """Answers requests. Raises `ModelError` and its kinds only; never retries by itself."""

    source: Literal["live", "recorded", "scripted"]

    async def reply(self, request: ModelRequest) -> ModelReply: ...

    def model_id(self, tier: Tier) -> str: ...

    def worst_case_usd(self, request: ModelRequest) -> float | None:
        """The most this request can cost; None when the price is unknown (fails closed)."""
        ...

    async def close(self) -> None: ...


# --------------------------------------------------------------------- time


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...
