"""The seams: narrow Protocols; adapters stand behind them, and fakes pass the same tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

from orchestrator.values import AttemptKey, Tier, Usage, Workspaces

# ---------------------------------------------------------------- sandboxes


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Of one sandbox. None: not asked for. What a provider cannot hold, it refuses.

    `allow` names the hosts that may be reached by HTTP and HTTPS, and no others: a name, a name
    with its port (`example.org:8443`), `*.example.org` for all below it, `*` for all that is
    public. A host of this machine or of a private network has to be named with its port.
    """

    memory_mb: int | None = 2048  # of all processes together
    processes: int | None = 256
    open_files: int | None = 4096  # of each process
    file_mb: int | None = 1024  # the largest single file
    disk_mb: int | None = 4096  # all that was written
    inodes: int | None = 500_000  # files and folders that were made
    cpus: float | None = None  # processors kept busy at once
    cpu_seconds: float | None = None  # processor time of one command with all its processes
    wall_seconds: float | None = None  # of its life, since it was opened or last extended
    allow: tuple[str, ...] = ()


LimitName = Literal[
    "memory_mb", "processes", "open_files", "file_mb", "disk_mb", "inodes", "cpus",
    "cpu_seconds", "wall_seconds",
]  # fmt: skip
#: "enforced": the kernel or the provider never lets it be passed. "watched": passing it is
#: noticed within about a second and ends the command. "none": not held, so refused when asked.
Held = Literal["enforced", "watched", "none"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider holds. A limit that is not among `limits` counts as "none".

    `network_off`: nothing leaves a sandbox unless allowed. `allow_list`: `SandboxLimits.allow`
    is held; otherwise asking for it is refused.
    """

    isolation: Literal["full", "none"]
    network_off: bool
    limits: Mapping[LimitName, Held]
    notes: tuple[str, ...] = ()
    allow_list: bool = False


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """What a base is made of: one commit of one repository and the setup that prepares it.

    `allow` is what setup may reach, as in `SandboxLimits`; besides, the package indexes and
    proxies that this machine's installers are configured for. `workspaces`: see `Base`; "auto" is
    the provider's choice, found by trying. A provider that has no choice takes any.
    """

    repo: Path
    commit: str
    setup: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    setup_timeout: float = 900.0
    allow: tuple[str, ...] = ("*",)
    workspaces: Workspaces = "auto"


@dataclass(frozen=True, slots=True)
class Base:
    """A prepared, read-only starting point. `handle` belongs to the provider.

    `folder` is a host folder beside the base where facts about it are cached by name
    (the tests that pass on it, for example). `fresh`: made by this call, not found in a cache.
    `workspaces`: how sandboxes of it have its files, "auto" where the provider has no choice.
    """

    id: str
    commit: str
    folder: Path
    handle: Any = None
    fresh: bool = field(default=False, compare=False)
    workspaces: Workspaces = field(default="auto", compare=False)


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """One sandbox that exists. `live`: a process holds it now; the others wait to be reopened
    or reaped. `made_at` is in seconds since the epoch."""

    id: str
    namespace: str
    labels: Mapping[str, str]
    live: bool
    made_at: float


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


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection that a sandbox asked for. `reason` says why it was refused or failed."""

    sandbox: str
    host: str
    port: int
    allowed: bool
    reason: str = ""


Observe = Callable[[Connection], None]


class Sandbox(Protocol):
    """One isolated workspace: the repository at `workdir`, a clean copy of its git directory,
    which nothing inside can write, at `base_git`, HOME and TMPDIR of its own.

    Files persist between commands; processes do not: whatever a command started ends with it.
    Commands asked for at the same time take turns. Paths are relative to `workdir` or absolute
    inside the sandbox. Raises `SandboxError` when the sandbox fails; a command that fails is a
    value. `reopened`: its files are from before.
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
        stdin: bytes | BinaryIO | None = None,
        timeout: float = 120.0,
        limit: int = 1_000_000,
        on_output: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        """Run a shell line (`str`, by `bash -c`, else `sh -c`) or an argument list.

        `on_output` is given both streams as they come, all of them, whatever `limit` keeps.
        """
        ...

    async def upload(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file and the folders above it; a `data` stream is read to its end."""
        ...

    async def download(self, path: str, *, limit: int = 64_000_000) -> bytes:
        """Raises `FileNotFoundError`, or `SandboxError` when larger than `limit` bytes."""
        ...

    async def download_to(self, path: str, file: BinaryIO, *, limit: int = 1 << 40) -> int:
        """Write the content of `path` to `file` as it comes; how many bytes. Errors are those
        of `download`; what came before one stays in `file`."""
        ...

    async def extend(self, seconds: float) -> None:
        """It lives for `seconds` more from now at least (`SandboxLimits.wall_seconds`)."""
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
        was. A key in use by a live process raises `SandboxError`, limits that cannot be held
        `SandboxUnavailableError`."""
        ...

    async def fork(
        self,
        base: Base,
        keys: Sequence[str],
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> tuple[Sandbox, ...]:
        """`create` for every key at once: all of them, or an error and none."""
        ...

    async def connect(self, id: str) -> Sandbox:  # noqa: A002 - the port's word for it
        """The sandbox of this namespace with that id, open here already or left by a process
        that is dead. Raises `SandboxGoneError` when there is none, `SandboxError` when another
        live process holds it."""
        ...

    async def list(
        self, labels: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> tuple[SandboxInfo, ...]:
        """The sandboxes that exist and have all of these labels, of every namespace or of one."""
        ...

    async def snapshot(self, sandbox: Sandbox) -> Base:
        """The sandbox's present files as a base to fork from; the sandbox must not run on.
        The base lives as long as the sandbox is not destroyed."""
        ...

    async def reap(self, namespace: str | None = None) -> int:
        """Remove sandboxes that nobody holds; how many. Without a `namespace`, those of other
        namespaces that have waited too long to be reopened. With one, all of it that is not
        open anywhere, unless a live process works in it. Never what a live process holds."""
        ...

    async def close(self, *, remove: bool = False) -> None:
        """Let go of everything; `remove` also removes the workspaces of this namespace, which
        otherwise wait to be reopened. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class SandboxUse:
    """A sandbox ran for `seconds`, which cost `cost_usd`. It may run again."""

    sandbox: str
    seconds: float
    cost_usd: float


@runtime_checkable
class Metered(Protocol):
    """What a provider whose sandboxes cost money offers besides: `on_use` hears of every stretch
    that one ran, when it ends."""

    on_use: Callable[[SandboxUse], None]


# ------------------------------------------------------------------- models


#: The turn of a question about an attempt, which is none of its own: those count from 1.
ASIDE = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question. `messages`, `tools` and `system` have the shapes of Anthropic's Messages API.

    `key` and `turn` say who asks (from 1, or `ASIDE`); no adapter but the recorded one may look.
    `input_bound`: it has at most this many tokens, where that is known from earlier answers.
    `begun`: an adapter that streams calls it as soon as the reply has begun.
    """

    key: AttemptKey
    turn: int
    model: str
    system: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int = 16_000
    input_bound: int | None = None
    begun: Callable[[], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ModelReply:
    """One answer. `content` are Messages API blocks; `source` says who really said it.

    `usage` None is unknown usage; `cost_usd` None is unknown cost. Neither is ever zero then.
    `pause`: the provider says that a limit is used up for so many seconds.
    """

    content: tuple[Mapping[str, Any], ...]
    stop_reason: str
    model: str
    usage: Usage | None
    cost_usd: float | None
    source: Literal["live", "recorded", "scripted"] = "live"
    pause: float | None = None


class Model(Protocol):
    """Answers requests. Raises `ModelError` and its kinds only; never retries by itself."""

    source: Literal["live", "recorded", "scripted"]

    async def reply(self, request: ModelRequest) -> ModelReply: ...

    def model_id(self, tier: Tier) -> str: ...

    def worst_case_usd(self, request: ModelRequest) -> float | None:
        """The most this request can cost; None when the price is unknown (fails closed)."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------- artifacts


class ArtifactStore(Protocol):
    """Bytes under the name that their content gives them, for processes on several machines.

    What is there never changes. Raises `MachineError` when the store cannot be used.
    """

    async def put(self, data: bytes) -> str:
        """The name: `sha256:` and 64 hexadecimal digits. Putting the same again changes nothing."""
        ...

    async def get(self, name: str) -> bytes:
        """Raises `FileNotFoundError` when nothing has this name, `MachineError` when what is
        there is not what the name says, `InputError` for what is no name."""
        ...

    async def has(self, name: str) -> bool: ...


# --------------------------------------------------------------------- time


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...
