"""Watches what no kernel limit holds here: memory, processes, time and files of a command."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness import process_stat
from harness.ports import SandboxLimits

#: A leak at memory speed passes a limit by about this many seconds' worth before it is killed.
_INTERVAL = 0.25
#: A walk over the written files takes at most this share of one core; the second while the file
#: system fills up.
_DISK_SHARE, _MOST_DISK_SHARE = 0.05, 0.25
_DISK_SECONDS = 1.0  # between two walks, at least
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_TICKS = os.sysconf("SC_CLK_TCK")


async def watch(
    root: int,
    written: Iterable[Path],
    limits: SandboxLimits,
    held: Callable[[], str] = lambda: "",
    ours: int = 1,
) -> str:
    """Return, in words, the limit that the process tree under `root` has passed, or what `held`
    says of those that the kernel holds. It may kill one process of many; the others would wait
    for it. So many of the processes are `ours`.

    Runs until cancelled or until one is passed.
    """
    folders = tuple(written)
    now = time.monotonic()
    soonest, due, level = now, now + _DISK_SECONDS, filled(folders)
    while True:
        reason = held() or await asyncio.to_thread(_processes_over, root, limits, ours)
        started = time.monotonic()
        grown = started >= soonest and may_have_passed(level, filled(folders), limits)
        if not reason and (grown or started >= due):
            level = filled(folders)
            reason = await asyncio.to_thread(_files_over, root, folders, limits)
            now = time.monotonic()
            took = now - started
            soonest = now + max(_DISK_SECONDS, took / _MOST_DISK_SHARE)
            due = now + max(_DISK_SECONDS, took / _DISK_SHARE)
        if reason:
            return reason
        await asyncio.sleep(_INTERVAL)


def filled(folders: Sequence[Path]) -> tuple[int, int]:
    """Megabytes and inodes in use on the file system of these."""
    try:
        found = os.statvfs(folders[0])
    except (OSError, IndexError):
        return 0, 0
    used = (found.f_blocks - found.f_bfree) * found.f_frsize >> 20
    return used, found.f_files - found.f_ffree


class Growth:
    """Finds files over their limits that many commands have left together, each of them too short
    for `watch`: the first that is known to have passed one is told."""

    def __init__(self, folders: Sequence[Path], limits: SandboxLimits) -> None:
        self._folders, self._limits = folders, limits
        self._level: tuple[int, int] | None = None

    def begin(self) -> None:
        """Before a command."""
        if self._level is None:
            self._level = filled(self._folders)

    async def over(self) -> str:
        """After it; in words, the limit that the files have passed, empty for none."""
        before, now = self._level, filled(self._folders)
        if before is None or not may_have_passed(before, now, self._limits):
            # What others gave back must not hide what was taken here.
            self._level = (
                now if before is None else (min(before[0], now[0]), min(before[1], now[1]))
            )
            return ""
        self._level = now
        return await asyncio.to_thread(files_over, self._folders, self._limits)


def may_have_passed(before: tuple[int, int], now: tuple[int, int], limits: SandboxLimits) -> bool:
    """Whether the whole file system took in so much that a limit may have been passed: a walk
    over many files is made seldom, and asking this costs nothing."""
    pairs = zip((limits.disk_mb, limits.inodes), before, now, strict=True)
    return any(most is not None and new - old > most // 4 for most, old, new in pairs)


def _processes_over(root: int, limits: SandboxLimits, ours: int) -> str:
    pids = tree(root)
    if limits.processes is not None and len(pids) > limits.processes + ours:
        return f"over {limits.processes} processes"
    if limits.cpu_seconds is not None and cpu_seconds(pids) > limits.cpu_seconds:
        return f"over {limits.cpu_seconds:g} s of processor time"
    if limits.memory_mb is None or memory_mb(pids) <= limits.memory_mb:
        return ""
    if memory_mb(pids, exact=True) > limits.memory_mb:
        return f"over {limits.memory_mb} MB of memory"
    return ""


def _files_over(root: int, folders: Iterable[Path], limits: SandboxLimits) -> str:
    # What was deleted while open takes space until it is closed, and no walk meets it.
    return files_over(folders, limits, deleted_blocks(tree(root)))


def files_over(folders: Iterable[Path], limits: SandboxLimits, more_blocks: int = 0) -> str:
    """In words, the limit that the files below `folders` have passed, with so many blocks of 512
    bytes besides; empty for none."""
    blocks, count = _usage(folders)
    used = (blocks + more_blocks) * 512 >> 20
    if limits.disk_mb is not None and used > limits.disk_mb:
        return f"over {limits.disk_mb} MB of files"
    if limits.inodes is not None and count > limits.inodes:
        return f"over {limits.inodes} files and folders"
    return ""


def tree(root: int) -> list[int]:
    """`root` and all its descendants. A daemon's parent is PID 1 of its cage, so none is missed."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    queue += [int(c) for c in (task / "children").read_text().split()]
    return found


def memory_mb(pids: Iterable[int], *, exact: bool = False) -> int:
    """Resident memory; `exact` divides shared pages among those who share them (slower)."""
    return sum(_shared_kb(pid) if exact else _resident_kb(pid) for pid in pids) // 1024


def _resident_kb(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KB
    except (OSError, IndexError):
        return 0


def _shared_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # forbidden or gone
        return _resident_kb(pid)
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time of these processes and of those they have waited for."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, process_stat.fields(pid)[11:15]))
    return ticks / _TICKS


def disk_mb(folders: Iterable[Path]) -> int:
    """Space taken by all files below `folders`; links are not followed."""
    return _usage(folders)[0] * 512 >> 20


def _usage(folders: Iterable[Path]) -> tuple[int, int]:
    """Blocks of 512 bytes and number of all that is below `folders`."""
    blocks, count, queue = 0, 0, [str(folder) for folder in folders]
    while queue:
        with contextlib.suppress(OSError), os.scandir(queue.pop()) as entries:
            for entry in entries:
                count += 1
                with contextlib.suppress(OSError):
                    blocks += entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
    return blocks, count


def deleted_blocks(pids: Iterable[int]) -> int:
    """Blocks of 512 bytes of the files that these processes hold open and nobody can name."""
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    held = entry.stat()
                    if held.st_nlink == 0:
                        found[held.st_dev, held.st_ino] = held.st_blocks
    return sum(found.values())
