"""The guard: PID 1 of an outer namespace in which every sandbox lives and with which all die.

`--die-with-parent` alone leaks when the runner is killed while a sandbox is being started.
The guard reads from a pipe whose other end only the runner holds; when the runner dies, in
whatever way, the pipe ends, the guard exits, and the kernel kills all that is in its PID
namespace, nested namespaces included.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from orchestrator.errors import SandboxUnavailableError

_READY = b"ready\n"
#: All sandboxes together; since Linux 6.14 a namespace has a limit of its own. The most that a
#: fork bomb in one of them can take from this machine before it is noticed.
_MOST_PROCESSES = 8192
#: PID 1 is `cat`: it says back what the runner says and ends when the pipe does. It ignores
#: SIGCHLD, by which the kernel reaps the orphans that become its children.
_SCRIPT = (
    f"echo {_MOST_PROCESSES} 2>/dev/null >/proc/sys/kernel/pid_max; "
    "exec env --ignore-signal=CHLD cat"
)
_REMEDY = "run `fibreflow doctor` for the remedy, or pass `--sandbox process` (no isolation)"


def tool(name: str) -> str:
    """The absolute path of a system program. Raises `SandboxUnavailableError` if missing."""
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin")
    found = found or shutil.which(name)
    if found is None:
        raise SandboxUnavailableError(
            f"{name} is not installed; install the package util-linux ({_REMEDY})"
        )
    return found


class Guard:
    """One per provider; started when first needed and again if it died."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._namespaces: tuple[int, ...] = ()
        self._prefix: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that waits for the guard; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    async def entrance(self) -> tuple[str, ...]:
        """The command prefix that starts a program among the guarded.

        Raises `SandboxUnavailableError` when this machine forbids user namespaces.
        """
        if self.alive:
            return self._prefix
        async with self._lock:
            if not self.alive:
                self._release()
                await asyncio.to_thread(self._start)
        return self._prefix

    def network_entrance(self, init: int) -> tuple[str, ...]:
        """The command prefix that starts a program in the network of the process `init`, which
        is guarded, and in nothing else of its."""
        # By way of the guard's user namespace, in which who started the guard may do anything.
        user = f"/proc/{os.getpid()}/fd/{self._namespaces[0]}" if self._namespaces else ""
        return (
            tool("nsenter"), f"--user={user}", f"--net=/proc/{init}/ns/net",
            "--preserve-credentials", "--",
        )  # fmt: skip

    def _start(self) -> None:
        read, self._lifeline = os.pipe()
        # "slave": mounts made on the host later are seen; nothing mounted within gets out.
        self._process = subprocess.Popen(
            [tool("unshare"), "--user", "--map-current-user", "--pid", "--fork", "--mount-proc",
             "--propagation", "slave", "--kill-child", "--", "/bin/sh", "-c", _SCRIPT],
            stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, env={},
        )  # fmt: skip
        os.close(read)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, _READY)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with self._process.stdout as out, self._process.stderr as err:
            if out.readline() != _READY:
                detail = err.read().decode("utf-8", "replace").strip()
                self._release()
                raise SandboxUnavailableError(
                    f"cannot make a user namespace: {detail or 'unshare failed'}; {_REMEDY}"
                )
        self._open_namespaces(self._process.pid)

    def _open_namespaces(self, pid: int) -> None:
        init = children_of(pid)[0]
        kinds = ("user", "pid", "mnt")
        self._namespaces = tuple(os.open(f"/proc/{init}/ns/{k}", os.O_RDONLY) for k in kinds)
        user, pids, mounts = (f"/proc/{os.getpid()}/fd/{fd}" for fd in self._namespaces)
        # Named through our own descriptor table, so that none is inherited into a sandbox.
        self._prefix = (
            tool("nsenter"), f"--user={user}", f"--pid={pids}", f"--mount={mounts}",
            "--preserve-credentials", "--",
        )  # fmt: skip

    def _release(self) -> None:
        for fd in self._namespaces:
            os.close(fd)
        self._namespaces = ()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._process is not None:
            self._process.wait()
            self._process = None

    async def close(self) -> None:
        """Kill everything guarded. The guard starts again when next needed."""
        async with self._lock:
            await asyncio.to_thread(self._release)


def children_of(pid: int) -> list[int]:
    """Of its first thread, which is the one that starts programs here. Raises `OSError`."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]
