"""What a run's fleet may do with it: a row that workers look at several times a second."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal

from harness.fleet.member import Fleet
from harness.record.workspace import Workspace

#: working: attempts may be begun; held: what is at work ends and nothing is begun; stopped: what
#: is at work anywhere is given back; ended: nothing is left to do.
RunStanding = Literal["working", "held", "stopped", "ended"]

_OPEN = (
    "INSERT INTO fibreflow_runs (run, workspace, standing) VALUES (:run, :workspace, 'working') "
    "ON CONFLICT (run) DO UPDATE SET standing = 'working', reason = '', code = 0, spent = 0, "
    "workspace = excluded.workspace"
)
_SET = "UPDATE fibreflow_runs SET standing = :standing WHERE run = :run"


@contextlib.asynccontextmanager
async def registered(fleet: Fleet | None, run: str, workspace: Workspace) -> AsyncIterator[None]:
    """While the block lasts the run is its fleet's to work on, and to go on with when its process
    dies, however early; then it is stopped, or over."""
    if fleet is None:
        yield
        return
    values = {"run": run, "workspace": str(workspace.root)}
    await asyncio.to_thread(fleet.held.do, _OPEN, values)
    try:
        yield
    finally:
        await asyncio.to_thread(put, fleet, run, "ended" if fleet.run_is_over else "stopped")


def put(fleet: Fleet, run: str, standing: RunStanding) -> None:
    """Blocks. Raises `TakenOverError`."""
    fleet.held.do(_SET, {"run": run, "standing": standing})
