"""The lock of a workspace, `logs/.lock`: who holds it, and how it is taken from one that is frozen.

It is the kernel's lock on a file, which ends with the process. A frozen process keeps it; where
that process is fenced off in a fleet's database, the file's name is given to a new one: the old
lock is then on a file that nobody else opens.
"""

import fcntl
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import process_stat
from harness.record.clock import iso
from orchestrator.errors import MachineError, WorkspaceLockedError
from orchestrator.reporting.wording import command

#: A process that was just killed lets go within milliseconds, and `holder` takes the lock for
#: a moment to look; neither should refuse a start.
LOCK_TRIES = 5
LOCK_WAIT = 0.05  # seconds

#: In the place of a word that there is not.
_NONE = "-"

#: Whether the process of this session can write nothing any more.
FencedOff = Callable[[str], bool]
#: Puts down for which run the lock is held, and the session of a fleet that holds the run.
Sign = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a workspace. `pid`: 0 when it is not known; `run`: empty while it is for none;
    `session`: empty without a fleet; `host`: empty when it is not known."""

    pid: int
    run: str = ""
    session: str = ""
    host: str = ""

    @property
    def is_here(self) -> bool:
        """Whether its pid means something on this machine."""
        return bool(self.pid) and self.host in {"", socket.gethostname()}

    @property
    def is_frozen(self) -> bool:
        """Whether a signal, a debugger or a suspended machine holds it up, as far as is seen."""
        try:
            return self.is_here and process_stat.fields(self.pid)[0] in {"T", "t"}
        except OSError:  # not Linux, or it has just ended
            return False


def take(path: Path, fenced_off: FencedOff) -> int:
    """A descriptor that holds the lock. Raises `WorkspaceLockedError` naming the holder,
    `MachineError` when it cannot be locked."""
    for _ in range(LOCK_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unlockable(path, error) from error
        try:
            _take(fd, path)
            if os.path.samestat(os.fstat(fd), path.stat()):
                held, fd = fd, -1
                return held
        except WorkspaceLockedError:
            session = _read(fd).session
            if not session or not fenced_off(session):
                raise
            _put_aside(path, session)
        except OSError as error:
            raise _unlockable(path, error) from error
        finally:
            if fd >= 0:
                os.close(fd)
    raise WorkspaceLockedError(f"{path}: is taken by one process after the other; try again")


def sign(fd: int, run: str, session: str) -> None:
    """Write down who holds the lock, and what for."""
    line = " ".join((str(os.getpid()), run or _NONE, session or _NONE, socket.gethostname()))
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{line}\n".encode(), 0)


def holder(path: Path) -> Holder | None:
    """The live process that holds the lock; None when nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(fd)
    else:
        return None
    finally:
        os.close(fd)


def _put_aside(path: Path, session: str) -> None:
    """Give the lock's name to a file that nobody holds, unless somebody did so already."""
    with path.with_name(".lock.turn").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        with path.open("rb") as now:
            if _read(now.fileno()).session != session:
                return
        new = path.with_name(".lock.new")
        new.write_bytes(b"")
        new.replace(path)


def _take(fd: int, path: Path) -> None:
    for _ in range(LOCK_TRIES - 1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_WAIT)
        else:
            return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        said = _refusal(path.parent.parent, _read(fd), os.fstat(fd).st_mtime)
        raise WorkspaceLockedError(said) from error


def _refusal(root: Path, found: Holder, since: float) -> str:
    """Who has the workspace, since when (it signs when it takes it), and what can be done."""
    where = "" if found.is_here or not found.host else f" on {found.host}"
    who = f"process {found.pid}{where}" if found.pid else "another process"
    said = f"{root}: {who} is running in this workspace, since {iso(since)}"
    if found.is_frozen:
        return (
            f"{said}, but it is frozen; let it go on with `kill -CONT {found.pid}`, or end it with "
            f"`kill -KILL {found.pid}`: nothing is lost, and the same command goes on from there"
        )
    watch = command("" if root == Path.cwd() else str(root), "status")
    stop = f"stop it with `kill -INT {found.pid}`{where and ' there'}" if found.pid else "stop it"
    return f"{said}; wait for it, watch it with `{watch}`, or {stop}"


def _unlockable(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path}: cannot be locked ({error.strerror or error}); "
        "keep the workspace in a folder you can write to, on a local disk"
    )


def _read(fd: int) -> Holder:
    words = os.pread(fd, 512, 0).decode("utf-8", "replace").split()
    pid, *named = (*words, "", "", "", "")[:4]
    run, session, host = ("" if word == _NONE else word for word in named)
    return Holder(int(pid) if pid.isdigit() else 0, run, session, host)
