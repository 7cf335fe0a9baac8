"""What the emulated sandbox leaves of itself: nothing, whenever it is killed."""

import asyncio
import contextlib
import os
import select
import signal
from pathlib import Path

import pytest

from tests.emulators.e2b_machine import Machine, new_disk


def child_of(pid: int) -> int:
    """Its first child, as soon as there is one; 0 when it ends without."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while not (found := children.read_text().split()):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return 0
    return int(found[0])


@pytest.mark.isolation
async def test_one_that_is_killed_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    new_disk(tmp_path / "disk")
    for _ in range(5):
        machine = Machine(tmp_path / "disk")
        outer = machine._bwrap.pid
        inner = await asyncio.to_thread(child_of, outer)
        os.kill(outer, signal.SIGSTOP)  # mostly before it lets the inner one go on
        assert inner
        watched = os.pidfd_open(inner)
        try:
            machine.kill()
            assert select.select([watched], [], [], 10)[0], "it waits for its parent for ever"
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(watched, signal.SIGKILL)
            os.close(watched)
