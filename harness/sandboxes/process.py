"""The `process` provider: no isolation at all, for machines that cannot have it, by name only.

A command runs as the user, with the user's files and network within reach. Workspaces are
copies. What a command leaves running is hunted down by session and by a mark in its
environment; a program that sheds both gets away.
"""

import asyncio
import contextlib
import os
import posixpath
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness import process_stat
from harness.ports import BaseSpec, Capabilities, ExecResult, SandboxLimits
from harness.sandboxes import claim, folders, rlimits
from harness.sandboxes.bases import Layers
from harness.sandboxes.child import Child, Launch
from harness.sandboxes.claim import Record
from harness.sandboxes.folder_provider import FolderProvider
from harness.sandboxes.folder_sandbox import FolderSandbox
from harness.sandboxes.guard import tool
from harness.sandboxes.holding import Holding
from harness.sandboxes.opening import claim_namespace, shell
from harness.sandboxes.toolbox import put_back, toolbox
from harness.sandboxes.undisturbed import undisturbed
from harness.sandboxes.watch import tree, watch
from orchestrator.errors import SandboxError

_MARK = "FIBREFLOW_COMMAND"
#: Rounds of looking for survivors; one that forks faster than this is stopped by its limits.
_HUNTS = 50
_INSPECT_SECONDS = 120.0
_INDEX_BYTES = 256_000_000
_SETUP_LIMITS = SandboxLimits(
    memory_mb=8192, processes=4096, open_files=65536, file_mb=16384, disk_mb=32768, allow=("*",)
)


@dataclass(frozen=True, slots=True)
class _Opened:
    cache: Path
    namespace: Path
    toolbox: Path
    lock_fd: int


class ProcessSandbox(FolderSandbox):
    """A copy of a base in a host folder. See `harness.ports.Sandbox`."""

    def __init__(
        self,
        key: str,
        folder: Path,
        layers: Layers,
        limits: SandboxLimits,
        holding: Holding | None = None,
    ) -> None:
        super().__init__(key, folder, layers, holding)
        self.workdir = str(folder / "upper")
        self.base_git = str(layers.git)
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
        argv = [shell(), "-c", command] if isinstance(command, str) else [*command]
        mark = secrets.token_hex(12)
        variables = {**environment(self.folder, self.layers), **(env or {}), _MARK: mark}
        where = posixpath.join(self.workdir, cwd or ".")
        launch = Launch(
            [*_limiter(self._limits), *argv], variables, where, stdin,
            new_session=True, limit=limit, on_output=on_output,
        )  # fmt: skip
        async with self._holding.turn:
            self._holding.check()
            if not os.path.isdir(where):  # noqa: PTH112 - one stat
                return ExecResult(1, b"", f"no folder {where}\n".encode())
            return await self._run(launch, mark, self._holding.within(timeout))

    async def _run(self, launch: Launch, mark: str, timeout: float) -> ExecResult:
        started = time.monotonic()
        try:
            child = Child(launch)
        except (OSError, ValueError) as error:
            return ExecResult(126, b"", f"cannot start the command: {error}\n".encode())
        written = [self.folder / name for name in ("upper", "tmp", "home")]
        watching: asyncio.Future[str] = asyncio.ensure_future(
            watch(child.pid, written, self._limits)
        )
        both: set[asyncio.Future[int] | asyncio.Future[str]] = {child.exited, watching}
        timed_out, reason = False, ""
        try:
            done, _ = await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            timed_out = not done
            reason = watching.result() if watching in done and not child.exited.done() else ""
        finally:
            watching.cancel()
            status = await undisturbed(_finish(child, mark))
            child.close()
        err = child.err.value() + (f"\nkilled: {reason}\n".encode() if reason else b"")
        code = 124 if timed_out else status if status >= 0 else 128 - status
        return ExecResult(
            code, child.out.value(), err, timed_out,
            child.out.truncated or child.err.truncated, time.monotonic() - started,
        )  # fmt: skip


def _limiter(limits: SandboxLimits) -> list[str]:
    held = rlimits.wanted(limits)
    names = {"core": resource.RLIMIT_CORE, "nofile": resource.RLIMIT_NOFILE,
             "fsize": resource.RLIMIT_FSIZE, "cpu": resource.RLIMIT_CPU}  # fmt: skip
    asked = (f"--{name}={held[kind]}" for name, kind in names.items() if kind in held)
    return [tool("prlimit"), *asked, "--"]


async def _finish(child: Child, mark: str) -> int:
    await asyncio.to_thread(_kill_all, child.pid, mark)
    status = await child.exited
    # A survivor that shed every trace may hold the pipes for ever.
    await asyncio.wait([child.drained], timeout=2.0)
    return status


def _kill_all(leader: int, mark: str) -> None:
    """Kill the command's process tree, its session, and whatever carries its mark."""
    for _ in range(_HUNTS):
        prey = {pid for pid in _marked(leader, mark) if pid != os.getpid()}
        if not prey:
            return
        for pid in prey:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _marked(leader: int, mark: str) -> Iterator[int]:
    mark_bytes = f"{_MARK}={mark}".encode()
    below = set(tree(leader)) - {leader}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, session = process_stat.fields(int(entry.name))[:4]
            environ = (entry / "environ").read_bytes()
        except (OSError, ValueError):
            continue
        ours = int(entry.name) in below or int(session) == leader or mark_bytes in environ
        if ours and state not in "ZX":
            yield int(entry.name)


def environment(folder: Path, layers: Layers) -> dict[str, str]:
    """The variables of a command: the host's search path, nothing else of the host's."""
    work = folder / "upper"
    own = [str(work / p) for p in layers.path]
    roots = [str(work / "src")] if (work / "src").is_dir() else []
    return {
        "PATH": ":".join([*own, str(layers.env / "bin"), os.environ.get("PATH", os.defpath)]),
        "HOME": str(folder / "home"),
        "USER": "agent",
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": str(layers.env),
        "PYTHONDONTWRITEBYTECODE": "1",
        # An editable install would lead to the folder setup ran in; the workspace comes first.
        "PYTHONPATH": ":".join([*roots, str(work)]),
        **layers.variables,
    }


class _Workshop:
    """See `harness.sandboxes.bases.Workshop`."""

    def __init__(self, toolbox: Path) -> None:
        self._toolbox = toolbox

    async def run(self, spec: BaseSpec, layers: Layers, folder: Path) -> ExecResult:
        await asyncio.to_thread(claim.furnish, folder, layers)
        # Its scripts are the toolbox's; installing by them must not change the toolbox.
        await asyncio.to_thread(_relocate, folder / "env", self._toolbox, folder / "env")
        sandbox = ProcessSandbox("setup", folder, layers, _SETUP_LIMITS)
        settings = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "NPM_"))}
        proxies = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
        result = await sandbox.exec(
            spec.setup or "", env=settings | proxies, timeout=spec.setup_timeout
        )
        if result.ok:
            final = folders.final_name(folder)
            await asyncio.to_thread(put_back, self._toolbox, folder / "env")
            await asyncio.to_thread(_relocate, folder / "env", self._toolbox, final / "env")
            await asyncio.to_thread(_relocate, folder / "env", folder, final)
        return result

    async def inspect(self, command: str, layers: Layers, folder: Path) -> bytes:
        ran_setup = (folder / "upper").is_dir()
        where = folder if ran_setup else layers.trees[-1].parent
        sandbox = ProcessSandbox("inspect", where, layers, SandboxLimits())
        if not ran_setup:
            sandbox.workdir = str(layers.trees[-1])
        result = await sandbox.exec(command, timeout=_INSPECT_SECONDS, limit=_INDEX_BYTES)
        if not result.ok or result.truncated:
            raise SandboxError(f"`{command}` failed while a base was prepared: {result.err!r}")
        return result.out


def _relocate(env: Path, old_path: Path, new_path: Path) -> None:
    """Make scripts and links between packages in `env` name `new_path` instead."""
    old, new = str(old_path).encode(), str(new_path).encode()
    for file in (*(env / "bin").iterdir(), *env.glob("lib/*/site-packages/*")):
        if file.is_symlink() or not file.is_file():
            continue
        data = file.read_bytes()
        if old in data and b"\0" not in data:
            file.write_bytes(data.replace(old, new))


class ProcessSandboxProvider(FolderProvider[ProcessSandbox, _Opened]):
    """Workspaces without isolation. See `FolderProvider`."""

    name = "process"
    kind = ProcessSandbox
    capabilities = Capabilities(
        "none",
        False,
        {
            "memory_mb": "watched", "processes": "watched", "open_files": "enforced",
            "file_mb": "enforced", "disk_mb": "watched", "inodes": "watched",
            "cpu_seconds": "watched", "wall_seconds": "enforced",
        },
        ("no isolation: commands run as you, with your files and your network",),
    )  # fmt: skip

    def __init__(
        self, namespace: str, state: Path | None = None, cache: Path | None = None
    ) -> None:
        super().__init__(namespace, state, cache)

    async def _open_now(self) -> _Opened:
        return await asyncio.to_thread(self._find)

    def _find(self) -> _Opened:
        state, wanted_cache = self._wanted
        cache = folders.cache_folder(wanted_cache)
        root = next(p for p in folders.state_candidates(state, cache) if folders.usable(p))
        # Apart from the isolated ones: the two kinds of workspace are not interchangeable.
        namespace = root.resolve() / "process" / self._namespace
        return _Opened(cache, namespace, toolbox(cache, None), claim_namespace(namespace))

    def _workshop(self, opened: _Opened) -> _Workshop:
        return _Workshop(opened.toolbox)

    async def _stand(
        self, _: _Opened, folder: Path, wanted: Record, holding: Holding
    ) -> ProcessSandbox:
        await asyncio.to_thread(claim.furnish, folder, wanted.base.handle)
        return ProcessSandbox(wanted.key, folder, wanted.base.handle, wanted.limits, holding)
