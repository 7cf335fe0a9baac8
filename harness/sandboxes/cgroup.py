"""Control groups, where this user may make them: memory, processes and processors held by the
kernel for all processes of a sandbox together. Versions 1 and 2."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import process_stat
from harness.ports import SandboxLimits

_PREFIX = "fibreflow-"
_COUNTER = itertools.count()
_MOUNT = Path("/sys/fs/cgroup")
#: Controller -> the file that limits it, in version 1 and in version 2.
_LIMIT_FILES = {
    "pids": ("pids.max", "pids.max"),
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "cpu": ("cpu.cfs_quota_us", "cpu.max"),
}
CONTROLLERS = tuple(_LIMIT_FILES)
#: In a group besides the command's: the spawner, and of a cage the one that waits and PID 1.
OWN_PROCESSES = 3
_PERIOD_US = 100_000  # the kernel's default


@dataclass(frozen=True, slots=True)
class Group:
    """One sandbox's group: the folders of it, one for each hierarchy it is in."""

    folders: tuple[Path, ...]

    def enter(self, pid: int) -> None:
        """Move the process in. Raises `OSError`."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def memory_events(self) -> "MemoryEvents | None":
        """None where memory is not among what it holds."""
        for folder in self.folders:
            for name in ("memory.oom_control", "memory.events"):
                with contextlib.suppress(OSError):
                    return MemoryEvents(os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC))
        return None

    def remove(self) -> None:
        for folder in self.folders:
            _remove(folder)


class MemoryEvents:
    """What the kernel says of a group's memory, in a file that is kept open: it is asked after
    every command."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def kills(self) -> int:
        """How many processes the kernel has killed in the group for want of memory."""
        with contextlib.suppress(OSError, ValueError):
            words = os.pread(self._fd, 4096, 0).split()
            return int(words[words.index(b"oom_kill") + 1])
        return 0

    def close(self) -> None:
        os.close(self._fd)


class Groups:
    """Where groups are made: for each controller that can be had, a folder of this process."""

    def __init__(self, parents: Mapping[str, Path]) -> None:
        self._parents = parents

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._parents)

    def group(self, limits: SandboxLimits) -> Group | None:
        """A new group that holds those of `limits` that its controllers can; None for none."""
        name = str(next(_COUNTER))
        wanted = [
            (parent / name, *setting)
            for controller, parent in self._parents.items()
            for setting in _settings(controller, limits, version1=_is_version1(parent))
        ]
        made = Group(tuple(dict.fromkeys(folder for folder, _, _ in wanted)))
        try:
            for folder in made.folders:
                folder.mkdir()
            for folder, file, value in wanted:
                (folder / file).write_text(value)
        except OSError:
            made.remove()
            return None
        return made if made.folders else None

    def remove(self) -> None:
        """Remove them all but those in use."""
        for parent in dict.fromkeys(self._parents.values()):
            with contextlib.suppress(OSError):
                for below in parent.iterdir():
                    if below.is_dir():
                        _remove(below)
            _remove(parent)


def groups(wanted: Iterable[str] = CONTROLLERS, mount: Path = _MOUNT) -> Groups:
    """A place for groups with as many of these controllers as this user may use; what dead
    processes left there is removed."""
    name = f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    found: dict[str, Path] = {}
    for controller in wanted:
        for folder in _candidates(controller, mount):
            parent = folder / name
            if parent in found.values() or _make(folder, parent):
                found[controller] = parent
                if _works(controller, parent):
                    break
                del found[controller]
                _remove(parent)
    return Groups(found)


def memory_group(pid: int, mount: Path = _MOUNT) -> Group | None:
    """The group that the memory of the process counts to, perhaps the root's. None once it has
    ended, also before its parent has waited for it: version 1 says that such a one is in the
    root's group, where everybody's processes count."""
    paths = [(root, _path_of(pid, root, "memory")) for root in _roots("memory", mount)]
    folders = tuple(root / path.lstrip("/") for root, path in paths if path is not None)
    # Asked last: what was read before is of a process that was there.
    return Group(folders) if folders and _lives(pid) else None


def _candidates(controller: str, mount: Path) -> list[Path]:
    """Folders in which a group with this controller might be made, best first."""
    roots = _roots(controller, mount)
    paths = [_path_of(os.getpid(), root, controller) or "/" for root in roots]
    own = [root / path.lstrip("/") for root, path in zip(roots, paths, strict=True)]
    pairs = zip(own, roots, strict=True)
    return [p for p in dict.fromkeys(q for pair in pairs for q in pair) if p.is_dir()]


def _roots(controller: str, mount: Path) -> list[Path]:
    """Where the hierarchies are mounted that may have this controller: version 1's own first."""
    version2 = [p for p in (mount, mount / "unified") if (p / "cgroup.controllers").exists()]
    return [mount / controller, *version2]


def _make(folder: Path, parent: Path) -> bool:
    _sweep(folder)
    with contextlib.suppress(OSError):
        if not _is_version1(folder):
            _hand_down(folder)
        parent.mkdir()
        if not _is_version1(folder):
            _hand_down(parent)
        return True
    return False


def _hand_down(folder: Path) -> None:
    """Version 2 gives controllers to groups below on request only, each by itself: one that is
    missing must not cost the others."""
    for controller in CONTROLLERS:
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _works(controller: str, parent: Path) -> bool:
    limits = SandboxLimits(memory_mb=64, processes=64, cpus=1.0)
    trial = Groups({controller: parent}).group(limits)
    if trial is None:
        return False
    trial.remove()
    return True


def _settings(controller: str, limits: SandboxLimits, *, version1: bool) -> list[tuple[str, str]]:
    """File and value that hold `limits` by one controller; none where nothing is asked of it."""
    file = _LIMIT_FILES[controller][0 if version1 else 1]
    if controller == "pids" and limits.processes is not None:
        return [(file, str(limits.processes + OWN_PROCESSES))]
    if controller == "memory" and limits.memory_mb is not None:
        return [(file, str(limits.memory_mb << 20))]
    if controller == "cpu" and limits.cpus is not None:
        quota = str(max(round(limits.cpus * _PERIOD_US), 1000))
        return [(file, quota if version1 else f"{quota} {_PERIOD_US}")]
    return []


def _is_version1(folder: Path) -> bool:
    return not (folder / "cgroup.controllers").exists()


def _path_of(pid: int, root: Path, controller: str) -> str | None:
    """The group that the process is in, of the hierarchy mounted at `root`; None where there is
    no such process, or no such hierarchy."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    wanted = controller if _is_version1(root) else ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if wanted in controllers.split(","):
            return path
    return None


def _lives(pid: int) -> bool:
    try:
        return process_stat.fields(pid)[0] not in {"Z", "X"}
    except OSError:
        return False


def _remove(group: Path) -> None:
    """Remove an empty group and the groups in it; one still in use stays."""
    with contextlib.suppress(OSError):
        for below in group.iterdir():
            if below.is_dir():
                with contextlib.suppress(OSError):
                    below.rmdir()
        group.rmdir()


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_PREFIX}*-*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _remove(left)
