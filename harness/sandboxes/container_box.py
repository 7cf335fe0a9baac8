"""One workspace whose commands run in containers: a new one for each, over a copied folder."""

import asyncio
import contextlib
import errno
import posixpath
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.ports import ExecResult, SandboxLimits
from harness.sandboxes import container_watch, containers
from harness.sandboxes.bases import Layers
from harness.sandboxes.capture import Capture
from harness.sandboxes.containers import BASE_GIT, ENV, HOME, WORKDIR, Container, Engine
from harness.sandboxes.folder_sandbox import FolderSandbox
from harness.sandboxes.holding import Holding
from harness.sandboxes.undisturbed import undisturbed
from orchestrator.errors import SandboxError

#: Of a container, its workspace: whoever holds the folder holds the container.
LABEL = "fibreflow.workspace"
_CHUNK = 256 * 1024
#: What the engine says when it, not the command, failed.
_ENGINE_FAILED = 125
_CANNOT_START = 126
#: Around a command, because an engine makes the folder that is not there, its init may end in 1
#: where there is no program, and neither says that memory was over: the control group does. What
#: the shell itself says of a killed command is left out.
_RUN = """
cd -- "$0" || exit 1
{{ (exec "$@" 2>&3 3>&-); status=$?; }} 3>&2 2>/dev/null
groups="/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control"
if [ $status = 137 ] && grep -qs "^oom_kill [1-9]" $groups; then
  echo "killed: over {memory_mb} MB of memory" >&2
fi
exit $status
"""
_KILL_AGAIN_SECONDS = 0.2


class ContainerSandbox(FolderSandbox):
    """A copy of a base in a host folder, at work in containers. See `harness.ports.Sandbox`."""

    workdir = WORKDIR
    base_git = BASE_GIT

    def __init__(  # noqa: PLR0913, PLR0917 - the provider alone makes these
        self,
        key: str,
        engine: Engine,
        folder: Path,
        layers: Layers,
        limits: SandboxLimits,
        holding: Holding | None = None,
    ) -> None:
        super().__init__(key, folder, layers, holding)
        self.network = self.writable_env = False
        self._engine = engine
        self._limits = limits

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
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [*command]
        where = posixpath.join(self.workdir, cwd or ".")
        argv = ["/bin/sh", "-c", _RUN.format(memory_mb=self._limits.memory_mb), where, *argv]
        name = f"fibreflow-{secrets.token_hex(8)}"
        variables = {**environment(self.layers), **(env or {})}
        words = containers.arguments(
            self._engine, self._container(name), argv, variables, self.workdir
        )
        async with self._holding.turn:
            self._holding.check()
            run = _Run(words, self.folder, Capture(limit), Capture(limit), on_output)
            return await self._run(run, name, stdin, self._holding.within(timeout))

    def _container(self, name: str) -> Container:
        work, layers = self.folder, self.layers
        mounts = (
            (work / "upper", WORKDIR, True), (work / "home", HOME, True),
            (work / "tmp", "/tmp", True), (work / "tmp", "/var/tmp", True),  # noqa: S108 - inside
            (layers.git, BASE_GIT, False), (layers.env, ENV, self.writable_env),
        )  # fmt: skip
        labels = {LABEL: str(self.folder)}
        return Container(name, mounts, self._limits, labels, self.network)

    async def _run(
        self, run: "_Run", name: str, stdin: bytes | BinaryIO | None, timeout: float
    ) -> ExecResult:
        started = time.monotonic()
        ended: asyncio.Future[int] = asyncio.ensure_future(run.until_end(stdin))
        watching: asyncio.Future[str] = asyncio.ensure_future(
            container_watch.passed(self._engine, name, self._written, self._limits)
        )
        both: set[asyncio.Future[int] | asyncio.Future[str]] = {ended, watching}
        timed_out, reason = False, ""
        try:
            done, _ = await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            timed_out = not done
            reason = watching.result() if watching in done and not ended.done() else ""
        finally:
            watching.cancel()
            await undisturbed(self._end(ended, name))
        seconds, err = time.monotonic() - started, run.err.value()
        truncated = run.out.truncated or run.err.truncated
        if timed_out:
            return ExecResult(124, run.out.value(), err, True, truncated, seconds)
        if reason:
            err += f"\nkilled: {reason}\n".encode()
            return ExecResult(137, run.out.value(), err, False, truncated, seconds)
        return _result(ended.result(), run, truncated, seconds)

    @property
    def _written(self) -> list[Path]:
        return [self.folder / part for part in ("upper", "tmp", "home")]

    async def _end(self, ended: "asyncio.Future[int]", name: str) -> None:
        # The client's end is not the container's: without this, one would run on for ever.
        # Again, because one that is just being made cannot be found yet.
        while not ended.done():
            await asyncio.to_thread(containers.kill, self._engine, name)
            await asyncio.wait([ended], timeout=_KILL_AGAIN_SECONDS)
        await ended


@dataclass(frozen=True, slots=True)
class _Run:
    """The engine's client at work; by asyncio's own means, which every platform has.

    `folder` is where it works: podman's monitor writes there that memory was over.
    """

    words: Sequence[str]
    folder: Path
    out: Capture
    err: Capture
    on_output: Callable[[bytes], None] | None

    async def until_end(self, stdin: bytes | BinaryIO | None) -> int:
        """The client's exit status. Raises `SandboxError` when it cannot be started."""
        pipe = asyncio.subprocess.PIPE
        try:
            client = await asyncio.create_subprocess_exec(
                *self.words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=self.folder
            )
        except (OSError, ValueError) as error:
            # A zero byte in its words, or too many of them.
            if isinstance(error, ValueError) or error.errno == errno.E2BIG:
                self.err.feed(f"cannot start the command: {error}\n".encode()[-1000:])
                return _CANNOT_START
            raise SandboxError(f"{self.words[0]} cannot be started: {error}") from error
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stderr is not None
        await asyncio.gather(
            _feed(client.stdin, stdin),
            self._hear(client.stdout, self.out),
            self._hear(client.stderr, self.err),
        )
        return await client.wait()

    async def _hear(self, stream: asyncio.StreamReader, kept: Capture) -> None:
        while data := await stream.read(_CHUNK):
            kept.feed(data)
            if self.on_output is not None:
                self.on_output(data)


async def _feed(stream: asyncio.StreamWriter, data: bytes | BinaryIO | None) -> None:
    # A command need not read what it is given.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if isinstance(data, bytes):
            stream.write(data)
            await stream.drain()
        elif data is not None:
            while chunk := data.read(_CHUNK):
                stream.write(chunk)
                await stream.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.close()
        await stream.wait_closed()


def _result(status: int, run: _Run, truncated: bool, seconds: float) -> ExecResult:
    said = run.err.value()
    if status == _ENGINE_FAILED:
        detail = said.decode("utf-8", "replace").strip()[-500:]
        raise SandboxError(f"the container failed to start: {detail}")
    code = status if status >= 0 else 128 - status
    return ExecResult(code, run.out.value(), said, False, truncated, seconds)


def environment(layers: Layers) -> dict[str, str]:
    """The variables of a command."""
    own = [f"{WORKDIR}/{folder}" for folder in layers.path]
    path = [*own, f"{ENV}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": ":".join(path), "HOME": HOME, "USER": "agent", "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 - inside
        "VIRTUAL_ENV": ENV, "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{WORKDIR}/src:{WORKDIR}",
        **layers.variables,
    }  # fmt: skip
