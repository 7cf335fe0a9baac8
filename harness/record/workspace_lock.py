"""The lock of a workspace, `logs/.lock`: who holds it, and how it is taken from one that is frozen.

It is the kernel's lock on a file, which ends with the process. A frozen process keeps it; where
that process is fenced off in a fleet's database, the file's name is given to a new one: the old
lock is then on a file that nobody else opens.
"""

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import MachineError, WorkspaceLockedError
from orchestrator.reporting.wording import command

#: A process that was just killed lets go within milliseconds, and `holder` takes the lock for
#: a moment to look; neither should refuse a start.
LOCK_TRIES = 5
LOCK_WAIT = 0.05  # seconds

#: Whether the process of this session can write nothing any more.
FencedOff = Callable[[str], bool]
#: Puts down for which run the lock is held, and the session of a fleet that holds the run.
Sign = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a workspace. `pid`: 0 when it is not known; `run`: empty while it is for none;
    `session`: empty without a fleet."""

    pid: int
    run: str = ""
    session: str = ""


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
    line = f"{os.getpid()} {run} {session}".rstrip()
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
        pid = _read(fd).pid
        root = path.parent.parent
        who = f"process {pid}" if pid else "another process"
        stop = f"stop it with `kill -INT {pid}`" if pid else "stop it"
        watch = command("" if root == Path.cwd() else str(root), "status")
        raise WorkspaceLockedError(
            f"{root}: {who} is running in this workspace; "
            f"wait for it, watch it with `{watch}`, or {stop}"
        ) from error


def _unlockable(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path}: cannot be locked ({error.strerror or error}); "
        "keep the workspace in a folder you can write to, on a local disk"
    )


def _read(fd: int) -> Holder:
    words = os.pread(fd, 512, 0).decode("utf-8", "replace").split()
    pid, run, session = (*words, "", "", "")[:3]
    return Holder(int(pid) if pid.isdigit() else 0, run, session)
