"""Slots: where one cage at a time runs, each a spawner held to the limits of what it starts.

A slot outlives its cages, so entering control groups is paid for once and not by every command. It
is one sandbox's while a command runs and may be another's afterwards: nothing of the first is left
then but the count of a control group's page cache.
"""

import asyncio
import contextlib
import functools
import marshal
import os
import re
import resource
import signal
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.ports import SandboxLimits
from harness.sandboxes import rlimits
from harness.sandboxes.cgroup import OWN_PROCESSES, Group, Groups, MemoryEvents
from harness.sandboxes.guard import Guard
from harness.sandboxes.spawner import ANSWER, READY
from orchestrator.errors import SandboxError

_START_SECONDS = 20.0
_MOST_FREE = 16
#: The processor time of the spawner itself counts against a limit on each process.
_MOST_CAGES = 1000
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is written above `lower`, bottom first, is kept in the folder `upper`, over which it
    appears in a slot; `work` is the kernel's, on the same file system."""

    lower: tuple[Path, ...]
    upper: Path
    work: Path

    @property
    def mount(self) -> tuple[bytes, bytes, bytes]:
        """Folder, work folder and options, as the spawner wants them."""
        lower = ":".join(_escaped(path) for path in reversed(self.lower))
        options = (
            f"lowerdir={lower},upperdir={_escaped(self.upper)},workdir={_escaped(self.work)}"
            ",userxattr,volatile"
        )
        return os.fsencode(self.upper), os.fsencode(self.work), os.fsencode(options)


def _escaped(path: Path) -> str:
    return re.sub(r"([\\,:])", r"\\\1", str(path))


class Slot:
    """The runner's end of one spawner. `pid` is the spawner's, `open` must come first.

    `alive` is False from when it was killed, whoever did; all that ran in it is then about to be
    gone, and is when `gone` returns.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._pidfd = -1
        self._ended: asyncio.Future[None] | None = None
        self._group: Group | None = None
        self._events: MemoryEvents | None = None
        self._memory_kills = 0
        self._answer: asyncio.Future[bytes] = self._loop.create_future()
        self.pid = 0
        self.used = 0
        self.alive = True
        sock.setblocking(False)
        self._loop.add_reader(sock, self._on_answer)

    async def open(self, limits: SandboxLimits, groups: Groups) -> None:
        """Wait until it stands and set the limits of all that it will start."""
        async with asyncio.timeout(_START_SECONDS):
            said = await self._answer
        if said != READY:
            why = os.strerror(ANSWER.unpack(said)[0]) if said else "its spawner was killed"
            raise SandboxError(f"a sandbox could not be started: {why}")
        self._pidfd = os.pidfd_open(self.pid)
        self._group = groups.group(limits)
        self._events = self._group.memory_events() if self._group is not None else None
        try:
            _set_rlimits(self.pid, limits)
            if self._group is not None:
                # The kernel takes milliseconds: it waits until all processors have noticed.
                await asyncio.to_thread(self._group.enter, self.pid)
        except ProcessLookupError as error:
            raise SandboxError("a sandbox could not be started: its spawner was killed") from error

    def start(
        self, words: Sequence[str], fds: Sequence[int], overlays: Sequence[Overlay] = ()
    ) -> "asyncio.Future[bytes]":
        """Start a cage with these as its descriptors 0, 1, 2, ...; its answer (`spawner.ANSWER`)
        comes when all of it is gone, and is empty when the slot was killed."""
        request = marshal.dumps(([overlay.mount for overlay in overlays], [*words]))
        self._answer = self._loop.create_future()
        self.used += 1
        command = os.memfd_create("command", os.MFD_CLOEXEC)
        try:
            view = memoryview(request)
            while view:
                view = view[os.write(command, view) :]
            socket.send_fds(self._sock, [b"c"], [command, *fds])
        except OSError:
            self._die()
        finally:
            os.close(command)
        return self._answer

    def _on_answer(self) -> None:
        try:
            space = socket.CMSG_SPACE(_CREDENTIALS.size)
            data, told, _, _ = self._sock.recvmsg(ANSWER.size, space)
        except BlockingIOError:
            return
        except OSError:
            data, told = b"", []
        for _, kind, raw in told:
            if kind == socket.SCM_CREDENTIALS and len(raw) >= _CREDENTIALS.size:
                # The kernel says it, in numbers of this process's namespace.
                self.pid = _CREDENTIALS.unpack(raw[: _CREDENTIALS.size])[0]
        if not data:
            self._die()
        elif not self._answer.done():
            self._answer.set_result(data)

    def _die(self) -> None:
        self.alive = False
        self._loop.remove_reader(self._sock)
        if not self._answer.done():
            self._answer.set_result(b"")

    def over_memory(self) -> bool:
        """Whether the kernel has killed a process for want of memory since it was last asked."""
        found = self._events.kills() if self._events is not None else 0
        before, self._memory_kills = self._memory_kills, found
        return found > before

    def kill(self) -> None:
        """Kill the spawner and all that it has started."""
        self.alive = False
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def gone(self) -> None:
        """Wait until nothing is left of a slot that was killed."""
        if self._pidfd < 0:
            return
        if self._ended is None:
            self._ended = self._loop.create_future()
            # Readable when PID 1 has ended, which it does after all others of its namespace.
            self._loop.add_reader(self._pidfd, settle, self._ended)
        await asyncio.shield(self._ended)
        self._loop.remove_reader(self._pidfd)

    async def close(self) -> None:
        """Kill it, wait until it is gone, and remove its control group."""
        self.kill()
        self._die()
        self._sock.close()
        await self.gone()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._events is not None:
            self._events.close()
        if self._group is not None:
            self._group.remove()


class Slots:
    """The slots of one provider, opened when needed and kept for the next command."""

    def __init__(self, guard: Guard, groups: Groups) -> None:
        self._guard = guard
        self._groups = groups
        self._free: dict[SandboxLimits, list[Slot]] = {}
        self._borrowed: set[Slot] = set()

    @contextlib.asynccontextmanager
    async def borrowed(self, limits: SandboxLimits) -> AsyncIterator[Slot]:
        """A slot that holds `limits`. Raises `SandboxError` when it cannot be had."""
        held = _held(limits)
        slot = self._take(held) or await self._open(held)
        self._borrowed.add(slot)
        try:
            yield slot
        finally:
            self._borrowed.discard(slot)
            free = sum(map(len, self._free.values()))
            if slot.alive and slot.used < _MOST_CAGES and free < _MOST_FREE:
                self._free.setdefault(held, []).append(slot)
            else:
                await slot.close()

    def _take(self, held: SandboxLimits) -> Slot | None:
        free = self._free.get(held, [])
        while free:
            slot = free.pop()
            if slot.alive:
                return slot
        return None

    async def _open(self, held: SandboxLimits) -> Slot:
        slot = Slot(await self._guard.spawner())
        try:
            await slot.open(held, self._groups)
        except BaseException:
            await slot.close()
            raise
        return slot

    async def close(self) -> None:
        """Kill them all; who has borrowed one finds it dead."""
        free, self._free = self._free, {}
        for slot in self._borrowed:
            slot.kill()
        for slot in tuple(self._borrowed):
            await slot.gone()
        await asyncio.gather(*(slot.close() for slots in free.values() for slot in slots))


@functools.cache
def _held(limits: SandboxLimits) -> SandboxLimits:
    """Those that a slot holds: the others make no other slot."""
    return replace(limits, disk_mb=None, inodes=None, wall_seconds=None, allow=())


def _set_rlimits(pid: int, limits: SandboxLimits) -> None:
    """Resource limits of a spawner, inherited by all it starts."""
    values = rlimits.wanted(limits)
    if limits.processes is not None and rlimits.processes_enforced():
        kind = resource.RLIMIT_NPROC
        values[kind] = rlimits.within_hard_limit(kind, limits.processes + OWN_PROCESSES)
    for kind, value in values.items():
        try:
            resource.prlimit(pid, kind, (value, value))
        except PermissionError as error:
            raise SandboxError(f"cannot limit process {pid}: {error}") from error


def settle(future: "asyncio.Future[None]") -> None:
    """Done, once; for a descriptor that becomes readable."""
    if not future.done():
        future.set_result(None)
