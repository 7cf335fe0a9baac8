"""A process limit by control group, for root: the kernel exempts root from RLIMIT_NPROC."""

import contextlib
import itertools
import os
from pathlib import Path

_PREFIX = "fibreflow-"
_COUNTER = itertools.count()
_MOUNTS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # version 1, version 2


def pids_parent() -> Path | None:
    """A new control group that can limit processes, to hold one for each sandbox; None where
    this user may not make one. Those that dead processes left are removed."""
    for mount in _MOUNTS:
        for folder in dict.fromkeys((mount / _own_path(mount).lstrip("/"), mount)):
            _sweep(folder)
            made = folder / f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
            try:
                made.mkdir()
            except OSError:
                continue
            with contextlib.suppress(OSError):  # version 2 hands controllers down on request
                (made / "cgroup.subtree_control").write_text("+pids")
            trial = pids_group(made, 100)
            if trial is not None:
                remove(trial)
                return made
            remove(made)
    return None


def pids_group(parent: Path, processes: int) -> Path | None:
    """A group below `parent` for at most `processes`; None when it cannot be made."""
    group = parent / str(next(_COUNTER))
    try:
        group.mkdir()
        (group / "pids.max").write_text(str(processes))
    except OSError:
        remove(group)
        return None
    return group


def enter(group: Path, pid: int) -> None:
    """Move `pid` into `group`. Raises `OSError`."""
    (group / "cgroup.procs").write_text(str(pid))


def remove(group: Path) -> None:
    """Remove an empty group and the groups in it; one still in use stays."""
    with contextlib.suppress(OSError):
        for below in group.iterdir():
            if below.is_dir():
                with contextlib.suppress(OSError):
                    below.rmdir()
        group.rmdir()


def _own_path(mount: Path) -> str:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "/"
    wanted = "pids" if mount.name == "pids" else ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if wanted in controllers.split(","):
            return path
    return "/"


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_PREFIX}*-*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            remove(left)
