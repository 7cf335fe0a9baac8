"""Watches what an engine's control groups do not hold, or hold without ending the whole command."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from harness.ports import SandboxLimits
from harness.sandboxes import cgroup, containers, watch
from harness.sandboxes.containers import Engine

_LOOK_SECONDS = 1.0


async def passed(engine: Engine, name: str, written: Sequence[Path], limits: SandboxLimits) -> str:
    """In words, the limit that the container called `name` has passed. Runs until cancelled or
    until one is. `written` are the folders of this machine that it may write to."""
    root = 0
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        # Where the engine is another machine, as on macOS, files without a name are not seen.
        root = root or await asyncio.to_thread(_process, engine, name, written[0])
        reason = await asyncio.to_thread(_over, root, written, limits)
        asked = limits.cpu_seconds
        if not reason and asked is not None:
            used = await asyncio.to_thread(containers.cpu_seconds, engine, name)
            reason = f"over {asked:g} s of processor time" if used > asked else ""
        if reason:
            return reason


def _process(engine: Engine, name: str, written: Path) -> int:
    """The container's first process here; 0 where it is not of this machine."""
    pid = containers.first_process(engine, name)
    try:
        mounts = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # A path of a mount begins at its file system's root; three parts of it are unlike others'.
    return pid if "/".join(written.parts[-3:]) in mounts else 0


def _over(root: int, written: Sequence[Path], limits: SandboxLimits) -> str:
    unnamed = watch.deleted_blocks(watch.tree(root)) if root else 0
    reason = watch.files_over(written, limits, unnamed)
    if not reason and root and _kills(root):
        # It ended one process of many; the others would wait for it.
        reason = f"over {limits.memory_mb} MB of memory"
    return reason


def _kills(pid: int) -> int:
    """How many processes the kernel has ended for want of memory in the process's group."""
    group = cgroup.memory_group(pid)
    events = group.memory_events() if group is not None else None
    if events is None:
        return 0
    try:
        return events.kills()
    finally:
        events.close()
