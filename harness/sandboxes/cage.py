"""One command in a bubblewrap cage: the arguments, the start, and an end that is certain."""

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.sandboxes import rootfs, seccomp
from harness.sandboxes.bases import Layers
from harness.sandboxes.child import Launch, Streams
from harness.sandboxes.guard import children_of
from harness.sandboxes.slots import Overlay, Slot, settle
from harness.sandboxes.spawner import ANSWER, STARTING
from harness.sandboxes.toolbox import INSIDE

WORKDIR = "/work"
BASE_GIT = "/run/fibreflow/base.git"
HOME = "/home/agent"
_UID = "1000"
#: bubblewrap takes 9,000, its own included; a shell's `make` or pytest may be given more.
_MOST_WORDS = 8000
_EXEC = (
    "import os, signal, sys\n"
    "for n in (signal.SIGPIPE, signal.SIGXFSZ): signal.signal(n, signal.SIG_DFL)\n"
    "with open(int(sys.argv[1]), 'rb') as file: words = file.read().split(b'\\0')[:-1]\n"
    "try: os.execvp(words[0], words)\n"
    "except OSError as e:\n"
    "    print('cannot start the command:', e.strerror, file=sys.stderr)\n"
    "    sys.exit(127 if isinstance(e, FileNotFoundError) else 126)"
)
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
    args += ["--proc", "/proc", "--remount-ro", "/proc"]
    if os.path.exists("/proc/keys"):  # noqa: PTH110 - one stat
        args += ["--ro-bind", "/dev/null", "/proc/keys"]  # names of the user's
    args += ["--dev", "/dev"]
    args += ["--perms", "1777", "--size", str(_SHM_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108 - inside
    args += ["--remount-ro", "/dev"]
    args += ["--bind" if place.writable_env else "--ro-bind", str(place.layers.env), INSIDE]
    args += ["--bind", str(place.folder / "tmp"), "/tmp"]  # noqa: S108 - inside
    args += ["--bind", str(place.folder / "tmp"), "/var/tmp"]  # noqa: S108 - inside
    args += ["--bind", str(place.folder / "home"), HOME]
    args += ["--bind", str(place.folder / "upper"), WORKDIR]
    args += ["--ro-bind", str(place.layers.git), BASE_GIT]
    for source, target in place.host_files:
        args += ["--ro-bind", str(source), target]
    return args


def overlays(place: Place) -> tuple[Overlay, ...]:
    """What is mounted over folders of the workspace before it is bound into the cage."""
    if not place.overlay:
        return ()
    folder, home = place.folder, place.layers.home
    work = Overlay(place.layers.trees, folder / "upper", folder / "work")
    if home is None:
        return (work,)
    return (work, Overlay((home,), folder / "home", folder / "home-work"))


def _told(words: Sequence[str]) -> int:
    """A descriptor from which arguments are read, each ended by a zero byte."""
    if any("\0" in word for word in words):
        raise ValueError("a zero byte would begin another argument")
    fd = os.memfd_create("arguments", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(b"".join(os.fsencode(word) + b"\0" for word in words))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cage is started by: bubblewrap and its arguments, what is mounted before, and
    whether the command waits for `Cage.open`."""

    bwrap: str
    words: Sequence[str]
    overlays: Sequence[Overlay] = ()
    gated: bool = False


class Cage:
    """A cage that was started in `slot`, which has no other. `ended` is done when all of it is
    gone. `refused` says why the kernel would not start it, `broken` why it could not be built.

    `finish` and `close` must be called.
    """

    def __init__(self, slot: Slot, plan: Plan, launch: Launch) -> None:
        self._slot = slot
        self.refused = self.broken = ""
        self._status_read, status_write = os.pipe()
        fds = [status_write]
        told = [*plan.words, "--json-status-fd", "3", "--new-session"]
        program = seccomp.program()
        if program is not None:
            filter_read, filter_write = os.pipe()
            os.write(filter_write, program)
            os.close(filter_write)
            fds.append(filter_read)
            told += ["--seccomp", "4"]
        self._gate = -1
        if plan.gated:
            gate_read, self._gate = os.pipe()
            told += ["--block-fd", str(3 + len(fds))]
            fds.append(gate_read)
        command = launch.argv
        if len(command) > _MOST_WORDS:
            command = [f"{INSIDE}/bin/python", "-I", "-S", "-c", _EXEC, str(3 + len(fds))]
            fds.append(_told(launch.argv))
        # Not on its command line, which the machine's other users may read, and the command too.
        words = [plan.bwrap, "--args", str(3 + len(fds)), "--", *command]
        fds.append(_told(told))
        self.streams = Streams(launch)
        self.ended = slot.start(words, [*self.streams.theirs, *fds], plan.overlays)
        for fd in fds:
            os.close(fd)
        self.streams.listen()

    async def stands(self) -> int:
        """Wait until it is built, its command held back: the process that is PID 1 in it, 0 when
        bwrap gave up before."""
        loop = asyncio.get_running_loop()
        announced: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._status_read, settle, announced)
        try:
            told: set[asyncio.Future[Any]] = {announced, self.ended}
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(self._status_read)
        monitor = self.monitor()
        with contextlib.suppress(OSError, IndexError):
            return children_of(monitor)[0] if monitor else 0
        return 0

    def open(self) -> None:
        """Let the command of a gated cage start."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._gate, b"g")

    def monitor(self) -> int:
        """The process above PID 1 of the cage; 0 when it is not there, not yet or not any more."""
        with contextlib.suppress(OSError, IndexError):
            return children_of(self._slot.pid)[0]
        return 0

    async def finish(self) -> int | None:
        """Kill what is still there and wait until all of it is gone; the command's exit status,
        None when it was killed or never started."""
        if not self.ended.done():
            self._slot.kill()
        answer = await self.ended
        if not answer:
            await self._slot.gone()
        # Whoever held the pipes is dead, so both streams end now.
        await self.streams.drained
        failed, status = ANSWER.unpack(answer) if answer else (0, 0)
        if failed and status == STARTING:
            self.refused = os.strerror(failed)
        elif failed:
            self.broken = f"cannot mount an overlay: {os.strerror(failed)}"
        return self._exit_status()

    def _exit_status(self) -> int | None:
        # Two or three short lines, and nobody is left who could write.
        for line in os.read(self._status_read, 65536).splitlines():
            with contextlib.suppress(ValueError):
                document = json.loads(line)
                if "exit-code" in document:
                    return int(document["exit-code"])
        return None

    def close(self) -> None:
        self.streams.close()
        os.close(self._status_read)
        self._close_gate()

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
