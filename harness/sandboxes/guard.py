"""The guard: PID 1 of an outer namespace in which every sandbox lives and with which all die.

`--die-with-parent` alone leaks when the runner is killed while a sandbox is being started.
The guard reads from a socket whose other end only the runner holds; when the runner dies, in
whatever way, the socket ends, the guard exits, and the kernel kills all that is in its PID
namespace, nested namespaces included.
"""

import asyncio
import atexit
import functools
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from harness.sandboxes import spawner
from orchestrator.errors import SandboxError, SandboxUnavailableError

_REMEDY = "run `fibreflow doctor` for the remedy, or pass `--sandbox process` (no isolation)"
#: By its real path, with nothing of the user's in it: it starts before anything is isolated.
_PROGRAM = (os.path.realpath(sys.executable), "-I", "-S", spawner.__file__)


def tool(name: str) -> str:
    """The absolute path of a system program. Raises `SandboxUnavailableError` if missing."""
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin")
    found = found or shutil.which(name)
    if found is None:
        raise SandboxUnavailableError(
            f"{name} is not installed; install the package util-linux ({_REMEDY})"
        )
    return found


@functools.cache
def shared() -> "Guard":
    """The guard of this process, for all its providers: starting one takes as long as some
    commands do."""
    made = Guard()
    atexit.register(made.release)
    return made


class Guard:
    """Started when first needed and again if it died. It dies with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # providers may be of several event loops
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket | None = None
        self._users = -1  # its namespace of users

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that waits for the guard; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Raises `SandboxUnavailableError` when this machine forbids user namespaces."""
        if not self.alive:
            await asyncio.to_thread(self._start)

    async def spawner(self) -> socket.socket:
        """The runner's end of a new spawner's socket. See `harness.sandboxes.spawner`."""
        await self.start()
        ours, theirs = _pair()
        with theirs:
            try:
                assert self._lifeline is not None
                socket.send_fds(self._lifeline, [b"s"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise SandboxError(f"the guard of the sandboxes was killed: {error}") from error
        return ours

    def network_entrance(self, init: int) -> tuple[str, ...]:
        """The command prefix that starts a program in the network of the process `init`, which
        is guarded, and in nothing else of its."""
        # By way of the guard's user namespace, in which who started the guard may do anything.
        user = f"/proc/{os.getpid()}/fd/{self._users}"
        return (
            tool("nsenter"), f"--user={user}", f"--net=/proc/{init}/ns/net",
            "--preserve-credentials", "--",
        )  # fmt: skip

    def _start(self) -> None:
        with self._lock:
            if not self.alive:
                self._release()
                self._start_now()

    def _start_now(self) -> None:
        self._lifeline, theirs = _pair()
        # "slave": mounts made on the host later are seen; nothing mounted within gets out.
        self._process = subprocess.Popen(
            [tool("unshare"), "--user", "--map-current-user", "--pid", "--fork", "--mount-proc",
             "--propagation", "slave", "--kill-child", "--", *_PROGRAM, "0"],
            stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True, env={}, cwd="/",
        )  # fmt: skip
        theirs.close()
        assert self._process.stderr is not None
        with self._process.stderr as err:
            if self._lifeline.recv(len(spawner.READY)) != spawner.READY:
                detail = err.read().decode("utf-8", "replace").strip()
                self._release()
                raise SandboxUnavailableError(
                    f"cannot make a user namespace: {detail or 'unshare failed'}; {_REMEDY}"
                )
        init = children_of(self._process.pid)[0]
        self._users = os.open(f"/proc/{init}/ns/user", os.O_RDONLY)

    def _release(self) -> None:
        if self._users >= 0:
            os.close(self._users)
            self._users = -1
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def release(self) -> None:
        """Kill everything guarded. The guard starts again when next needed. Blocks."""
        with self._lock:
            self._release()


def _pair() -> tuple[socket.socket, socket.socket]:
    """Ends of a socket that keeps messages apart; the first is told who sends them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def children_of(pid: int) -> list[int]:
    """Of its first thread, which is the one that starts programs here. Raises `OSError`."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]
