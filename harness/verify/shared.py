"""Side by side: what is found out once and shared, and several checks that run at once."""

import asyncio
import json
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.record import files

#: One lock per event loop and file: asyncio's locks belong to the loop that first waits on them.
_LOCKS: "weakref.WeakValueDictionary[tuple[int, Path], asyncio.Lock]" = (
    weakref.WeakValueDictionary()
)


async def once(path: Path, find: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """The JSON object in `path`, made by `find` when it is missing.

    Verifications of one base that run side by side wait for the first instead of repeating it;
    one that fails leaves nothing behind, and the next tries again.
    """
    if (known := _read(path)) is not None:
        return known
    key = (id(asyncio.get_running_loop()), path)
    lock = _LOCKS.get(key)
    if lock is None:
        lock = _LOCKS[key] = asyncio.Lock()
    async with lock:
        if (known := _read(path)) is not None:
            return known
        found = await find()
        await asyncio.to_thread(files.replace_json, path, found)
        return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) else None


ResultT = TypeVar("ResultT")


async def together(work: Sequence[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """All results, in order. The first error ends the others, which have let go of their
    sandboxes by the time it is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
