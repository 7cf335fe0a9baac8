"""What the tests of the port look for on the host."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path


def alive(marker: str) -> list[int]:
    """Processes whose command line holds `marker`; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
