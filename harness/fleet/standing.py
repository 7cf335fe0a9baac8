"""What a run's fleet may do with it: a row that workers look at several times a second."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal

from harness.database import execute
from harness.fleet import program
from harness.fleet.member import Fleet
from harness.record.workspace import Workspace

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: working: attempts may be begun; held: what is at work ends and nothing is begun; stopped: what
#: is at work anywhere is given back; ended: nothing is left to do.
RunStanding = Literal["working", "held", "stopped", "ended"]

_OPEN = (
    "INSERT INTO fibreflow_runs (run, workspace, standing) VALUES (:run, :workspace, 'working') "
    "ON CONFLICT (run) DO UPDATE SET standing = 'working', reason = '', code = 0, spent = 0, "
    "workspace = excluded.workspace"
)
_VERSION = (
    "INSERT INTO fibreflow_versions (run, version) VALUES (:run, :version) "
    "ON CONFLICT (run) DO UPDATE SET version = excluded.version"
)
_SET = "UPDATE fibreflow_runs SET standing = :standing WHERE run = :run"


@contextlib.asynccontextmanager
async def registered(fleet: Fleet | None, run: str, workspace: Workspace) -> AsyncIterator[None]:
    """While the block lasts the run is its fleet's to work on, and to go on with when its process
    dies, however early; then it is stopped, or over."""
    if fleet is None:
        yield
        return
    await asyncio.to_thread(_register, fleet, run, workspace)
    try:
        yield
    finally:
        await asyncio.to_thread(put, fleet, run, "ended" if fleet.run_is_over else "stopped")


def _register(fleet: Fleet, run: str, workspace: Workspace) -> None:
    """With whose it is, in one transaction: no other version may take of it meanwhile."""
    version = program.version()

    def write(connection: "Connection") -> None:
        execute(connection, _OPEN, {"run": run, "workspace": str(workspace.root)})
        execute(connection, _VERSION, {"run": run, "version": version})

    fleet.held.run(write)


def put(fleet: Fleet, run: str, standing: RunStanding) -> None:
    """Blocks. Raises `TakenOverError`."""
    fleet.held.do(_SET, {"run": run, "standing": standing})
