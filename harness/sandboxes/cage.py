"""One command in a bubblewrap cage: the arguments, the start, and an end that is certain."""

import asyncio
import contextlib
import json
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.ports import SandboxLimits
from harness.sandboxes import rlimits, rootfs, seccomp
from harness.sandboxes.bases import Layers
from harness.sandboxes.cgroup import Group
from harness.sandboxes.child import Child, Launch
from harness.sandboxes.guard import children_of
from harness.sandboxes.toolbox import INSIDE
from orchestrator.errors import SandboxError

WORKDIR = "/work"
BASE_GIT = "/run/fibreflow/base.git"
HOME = "/home/agent"
_UID = "1000"
#: Longer than it takes to read what the pipes hold; then somebody must be holding them.
_DRAIN_SECONDS = 0.5
_SHM_BYTES = 256 << 20  # browsers and multiprocessing want /dev/shm; it counts as memory


@dataclass(frozen=True, slots=True)
class Place:
    """What a cage is built of, all of it host folders. `writable_env` and `host_files` (source
    and place inside) are for setup alone."""

    layers: Layers
    folder: Path
    root: Path
    overlay: bool = True
    writable_env: bool = False
    host_files: tuple[tuple[Path, str], ...] = ()


def arguments(place: Place) -> list[str]:
    """bwrap's arguments but for the command, its folder and variables."""
    args = [
        "--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
        "--unshare-cgroup-try", "--unshare-net",
        "--uid", _UID, "--gid", _UID, "--hostname", "sandbox",
        "--die-with-parent", "--cap-drop", "ALL",
        "--ro-bind", str(place.root), "/", "--ro-bind", "/usr", "/usr",
    ]  # fmt: skip
    for name, path in rootfs.system_links():
        args += ["--ro-bind", str(path), f"/{name}"]
    for path in rootfs.interpreter_folders():
        args += ["--ro-bind", str(path), str(path)]
    # Root outside owns the kernel's switches in /proc even without a capability: all read-only.
    args += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    args += ["--perms", "1777", "--size", str(_SHM_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108 - inside
    args += ["--remount-ro", "/dev"]
    args += ["--bind" if place.writable_env else "--ro-bind", str(place.layers.env), INSIDE]
    args += ["--bind", str(place.folder / "tmp"), "/tmp"]  # noqa: S108 - inside
    args += ["--bind", str(place.folder / "tmp"), "/var/tmp"]  # noqa: S108 - inside
    args += _home(place)
    args += _work(place)
    args += ["--ro-bind", str(place.layers.git), BASE_GIT]
    for source, target in place.host_files:
        args += ["--ro-bind", str(source), target]
    return args


def _work(place: Place) -> list[str]:
    if not place.overlay:
        return ["--bind", str(place.folder / "upper"), WORKDIR]
    sources = [arg for tree in place.layers.trees for arg in ("--overlay-src", str(tree))]
    return [*sources, "--overlay", str(place.folder / "upper"), str(place.folder / "work"), WORKDIR]


def _home(place: Place) -> list[str]:
    if place.layers.home is None or not place.overlay:
        return ["--bind", str(place.folder / "home"), HOME]
    upper, work = str(place.folder / "home"), str(place.folder / "home-work")
    return ["--overlay-src", str(place.layers.home), "--overlay", upper, work, HOME]


class Cage:
    """A running cage. `prefix` is the guard's entrance followed by bwrap's path."""

    def __init__(self, prefix: Sequence[str], args: Sequence[str], launch: Launch) -> None:
        self._status_read, status_write = os.pipe()
        gate_read, self._gate = os.pipe()
        fds = [status_write, gate_read]
        extra = ["--json-status-fd", str(status_write), "--block-fd", str(gate_read)]
        program = seccomp.program()
        if not launch.attached or program is None:
            # A terminal could be typed into by whoever shares it; the filter forbids that.
            extra.append("--new-session")
        if program is not None:
            filter_read, filter_write = os.pipe()
            os.write(filter_write, program)
            os.close(filter_write)
            fds.append(filter_read)
            extra += ["--seccomp", str(filter_read)]
        self._status = b""
        self._init = -1
        self.init_pid = 0
        try:
            self.child = Child(
                replace(
                    launch,
                    argv=[*prefix, *args, *extra, "--", *launch.argv],
                    env={},
                    cwd="/",
                    pass_fds=tuple(fds),
                    new_session=not launch.attached,
                )
            )
        except (OSError, ValueError):
            os.close(self._status_read)
            os.close(self._gate)
            raise
        finally:
            for fd in fds:
                os.close(fd)
        os.set_blocking(self._status_read, False)
        self._loop = asyncio.get_running_loop()
        self._announced: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._status_read, self._read_status)

    def _read_status(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._status_read, 4096)
            self._status += data
            if not data:
                self._loop.remove_reader(self._status_read)
            if not self._announced.done():
                self._announced.set_result(None)

    async def stand(self) -> bool:
        """Wait until the cage stands, its command held back.

        False when bwrap gave up before; its complaint is in `child.err`.
        """
        await self._find_init()
        return self._init >= 0

    async def open(self, limits: SandboxLimits, group: Group | None = None) -> None:
        """Set the limits of a cage that stands and let the command start. `group` is a control
        group for its processes."""
        _set_limits(self.init_pid, limits)
        if group is not None:
            with contextlib.suppress(ProcessLookupError):
                # The kernel takes milliseconds: it waits until all processors have noticed.
                await asyncio.to_thread(group.enter, self.init_pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._gate, b"g")

    async def _find_init(self) -> None:
        # Killed from outside, it may never say anything.
        told: set[asyncio.Future[Any]] = {self._announced, self.child.exited}
        await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(OSError, IndexError):
            monitor = children_of(self.child.pid)[0]
            init = children_of(monitor)[0]
            self._init = os.pidfd_open(init)
            self.init_pid = init

    async def finish(self) -> int | None:
        """Kill what is still there and wait until all of it is gone; the command's exit status,
        None when it was killed or never started."""
        if self._init < 0 and not self.child.exited.done():
            # Cancelled while being built: nothing to signal until the cage has a PID 1.
            await self._find_init()
        if self._init >= 0:
            await self._kill_all()
        elif not self.child.exited.done():
            self.child.kill()  # bwrap goes with it, by --die-with-parent
        await asyncio.shield(self.child.exited)
        # Whoever held the pipes is dead, so both streams end now.
        while not self.child.drained.done():
            await asyncio.wait([self.child.drained], timeout=_DRAIN_SECONDS)
            if not self.child.drained.done():
                # Somebody killed the entrance while bwrap was building, which now waits for ever.
                await asyncio.to_thread(_kill_holders, self.child.pipes)
        return self._exit_status()

    async def _kill_all(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init, signal.SIGKILL)
        gone: asyncio.Future[None] = self._loop.create_future()
        # Readable when PID 1 has ended, which it does after all others of its namespace.
        self._loop.add_reader(self._init, _settle, gone)
        try:
            await asyncio.shield(gone)
        finally:
            self._loop.remove_reader(self._init)

    def _exit_status(self) -> int | None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._status_read, 4096):
                self._status += data
        for line in self._status.splitlines():
            with contextlib.suppress(ValueError):
                document = json.loads(line)
                if "exit-code" in document:
                    return int(document["exit-code"])
        return None

    def close(self) -> None:
        self.child.close()
        self._loop.remove_reader(self._status_read)
        os.close(self._status_read)
        os.close(self._gate)
        if self._init >= 0:
            os.close(self._init)
            self._init = -1


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _kill_holders(pipes: frozenset[int]) -> None:
    """Kill the processes of other PID namespaces that hold one of these pipes (inodes)."""
    names = {f"pipe:[{inode}]" for inode in pipes}
    own = Path("/proc/self/ns/pid").readlink()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "ns" / "pid").readlink() != own:
                held = {str(fd.readlink()) for fd in (entry / "fd").iterdir()}
                if held & names:
                    os.kill(int(entry.name), signal.SIGKILL)


def _set_limits(pid: int, limits: SandboxLimits) -> None:
    """Resource limits of PID 1 of the cage, inherited by all it starts."""
    values = rlimits.wanted(limits)
    if limits.processes is not None and rlimits.processes_enforced():
        kind = resource.RLIMIT_NPROC
        values[kind] = rlimits.within_hard_limit(kind, limits.processes)
    for kind, value in values.items():
        try:
            resource.prlimit(pid, kind, (value, value))
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise SandboxError(f"cannot limit process {pid}: {error}") from error
