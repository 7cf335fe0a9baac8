"""Watches what no kernel limit holds here: memory, processes and disk of a running command."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from harness.ports import SandboxLimits

#: A leak at memory speed passes a limit by about this many seconds' worth before it is killed.
_INTERVAL = 0.25
#: A walk over the written files takes at most this share of one core.
_DISK_SHARE = 0.05
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


async def watch(root: int, written: Iterable[Path], limits: SandboxLimits) -> str:
    """Return, in words, the limit that the process tree under `root` has passed.

    Runs until cancelled or until one is passed.
    """
    folders = tuple(written)
    next_disk = time.monotonic() + 1.0
    while True:
        reason = await asyncio.to_thread(_processes_over, root, limits)
        if not reason and time.monotonic() >= next_disk:
            started = time.monotonic()
            used = await asyncio.to_thread(disk_mb, folders)
            took = time.monotonic() - started
            next_disk = time.monotonic() + max(1.0, took / _DISK_SHARE)
            if used > limits.disk_mb:
                reason = f"over {limits.disk_mb} MB of files"
        if reason:
            return reason
        await asyncio.sleep(_INTERVAL)


def _processes_over(root: int, limits: SandboxLimits) -> str:
    pids = tree(root)
    if len(pids) > limits.processes + 1:  # PID 1 of the cage is ours
        return f"over {limits.processes} processes"
    if memory_mb(pids) <= limits.memory_mb:
        return ""
    # Pages shared after a fork were counted once for each process; look again, exactly.
    if memory_mb(pids, exact=True) > limits.memory_mb:
        return f"over {limits.memory_mb} MB of memory"
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


def disk_mb(folders: Iterable[Path]) -> int:
    """Space taken by all files below `folders`; links are not followed."""
    blocks, queue = 0, [str(folder) for folder in folders]
    while queue:
        with contextlib.suppress(OSError), os.scandir(queue.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    blocks += entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
    return blocks * 512 >> 20
