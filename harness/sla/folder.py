"""Probes of files: the age of the newest or oldest that matches a glob, and how many do."""

import glob
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.sla.surroundings import Surroundings
from harness.sla.threads import in_thread
from orchestrator.errors import ProbeError
from orchestrator.sla.probes import FileAge, FileCount


async def age(probe: FileAge, around: Surroundings) -> float:
    """Seconds since the newest, or the oldest, match was changed."""
    times = await in_thread(lambda: [t for _, t in _matches(probe.path, around.workspace)])
    if not times:
        raise ProbeError(f"no file matches {probe.path}")
    return around.age(max(times) if probe.of == "newest" else min(times))


async def count(probe: FileCount, around: Surroundings) -> float:
    """How many files match; a folder that cannot be read has none."""
    return float(await in_thread(lambda: sum(1 for _ in _matches(probe.path, around.workspace))))


def _matches(pattern: str, workspace: Path) -> Iterator[tuple[str, float]]:
    # Not `Path.glob`, which refuses the absolute patterns that data outside has.
    names = glob.iglob(str(workspace / pattern), recursive=True, include_hidden=True)  # noqa: PTH207
    for name in names:
        try:
            found = Path(name).stat()
        except OSError:
            continue  # gone since, or a link that leads nowhere
        if stat.S_ISREG(found.st_mode):
            yield name, found.st_mtime
