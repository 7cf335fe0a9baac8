"""One E2B sandbox behind the port: commands take turns, files go in and out as the agent."""

import asyncio
import posixpath
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from harness.ports import Base, ExecResult, SandboxLimits
from harness.sandboxes import transfer
from harness.sandboxes.e2b.jobs import JOBS, PLACE, Job, Runner
from orchestrator.errors import SandboxError, SandboxGoneError

HOME = "/home/agent/home"
TEMPORARY = "/home/agent/tmp"
WORK = "/home/agent/work"
ENVIRONMENT = "/opt/env"
BASE_GIT = f"{PLACE}/base.git"
#: What a command may write to.
WRITTEN = (HOME, TEMPORARY, WORK)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The handle of a base. `before`: kilobytes and files in it; `path` as in `Layers`."""

    snapshot: str
    variables: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    before: tuple[int, int] = (0, 0)


def environment(prepared: Prepared) -> dict[str, str]:
    """The variables of a command."""
    own = [f"{WORK}/{p}" for p in prepared.path]
    system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {
        "PATH": ":".join([*own, f"{ENVIRONMENT}/bin", *system]),
        "HOME": HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "TMPDIR": TEMPORARY,
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": ENVIRONMENT,
        "PYTHONDONTWRITEBYTECODE": "1",
        # An editable install leads here as well, but a project need not be installed at all.
        "PYTHONPATH": ":".join([*(f"{WORK}/{p}" for p in prepared.roots), WORK]),
        **prepared.variables,
    }


class E2BSandbox:
    """See `harness.ports.Sandbox`. `end` is the provider's: what to do when it goes."""

    workdir = WORK
    base_git = BASE_GIT

    def __init__(  # noqa: PLR0913 - all of it is needed, and only the provider makes one
        self,
        key: str,
        base: Base,
        runner: Runner,
        limits: SandboxLimits,
        *,
        end: Callable[["E2BSandbox"], Awaitable[None]],
        renew: Callable[["E2BSandbox"], Awaitable[None]],
    ) -> None:
        self.id = key
        self.base = base
        self.runner = runner
        self.limits = limits
        self.reopened = self.gone = self.frozen = False
        self.turn = asyncio.Lock()
        self.snapshots: list[str] = []
        self.ends: float | None = None
        self._end = end
        self._renew = renew

    def begin(self, sdk: Any) -> None:
        """Its machine, the SDK's object for it, has come to life."""
        self.runner.sdk = sdk
        if self.limits.wall_seconds is not None:
            self.ends = time.monotonic() + self.limits.wall_seconds

    @property
    def cloud_id(self) -> str:
        return str(self.runner.sdk.sandbox_id)

    def left(self) -> float | None:
        """Seconds until its end by its own limit; None without one."""
        return self.limits.wall_seconds if self.ends is None else self.ends - time.monotonic()

    async def exec(  # noqa: PLR0913 - the port's signature
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
        argv = ["/bin/bash", "-c", command] if isinstance(command, str) else [*command]
        async with self.turn:
            self.check()
            job = self._job(
                argv, posixpath.join(WORK, cwd or "."), timeout, env=env or {}, stdin=stdin,
                limit=limit, on_output=on_output,
            )  # fmt: skip
            return await self.runner.run(job)

    async def upload(self, path: str, data: bytes | BinaryIO) -> None:
        await transfer.upload(self, path, data)

    async def download(self, path: str, *, limit: int = 64_000_000) -> bytes:
        file = BytesIO()
        await self.download_to(path, file, limit=limit)
        return file.getvalue()

    async def download_to(self, path: str, file: BinaryIO, *, limit: int = 1 << 40) -> int:
        """By a copy that the agent's user reads and only root can write: no planted link is
        followed by anybody who may read more."""
        async with self.turn:
            self.check()
            job = self._job(transfer.reading(self, path, limit), WORK, 3600.0, keep=True)
            name = secrets.token_hex(8)
            transfer.check(await self.runner.run(job, name), self, path)
            size = await self.runner.read_to(f"{JOBS}/{name}.out", file, limit)
            if size > limit:
                raise transfer.too_large(self, path, limit)
            return size

    async def extend(self, seconds: float) -> None:
        self.check()
        if self.ends is not None:
            self.ends = max(self.ends, time.monotonic() + seconds)
            await self._renew(self)

    async def destroy(self) -> None:
        if self.gone:
            return
        self.gone = True
        await self._end(self)

    def check(self) -> None:
        """Raises `SandboxGoneError`, or `SandboxError` for a snapshot."""
        if self.gone:
            raise SandboxGoneError(f"sandbox {self.id} was destroyed")
        if self.ends is not None and time.monotonic() >= self.ends:
            raise SandboxGoneError(
                f"sandbox {self.id} has come to the end of its life (wall_seconds); "
                "extend it before, or give it a longer one"
            )
        if self.frozen:
            raise SandboxError(f"sandbox {self.id} is a snapshot; fork it with create()")

    def _job(self, argv: Sequence[str], cwd: str, timeout: float, **more: Any) -> Job:
        prepared: Prepared = self.base.handle
        variables = {**environment(prepared), **more.pop("env", {})}
        left = self.left()
        return Job(
            argv, variables, cwd, self.limits,
            timeout if left is None else min(timeout, max(left, 0.0)),
            written=WRITTEN, before=prepared.before, **more,
        )  # fmt: skip
