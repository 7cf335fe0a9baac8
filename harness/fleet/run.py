"""Keeps a run and its place in the fleet's queue in step: who may begin work on it, and who asked
for its end.

Both sides are looked at a few times a second, for either may change on another machine.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from harness.fleet import forgetting
from harness.fleet.member import Fleet
from harness.record.journal_shared import SharedJournal
from harness.services import Services
from orchestrator.errors import MachineError, TakenOverError

#: working: attempts may be begun; held: what is at work ends and nothing is begun; stopped: what
#: is at work anywhere is given back; ended: nothing is left to do.
RunStanding = Literal["working", "held", "stopped", "ended"]
_LOOK_SECONDS = 0.3

_OPEN = (
    "INSERT INTO fibreflow_runs (run, workspace, standing) VALUES (:run, :workspace, 'working') "
    "ON CONFLICT (run) DO UPDATE SET standing = 'working', reason = '', code = 0, spent = 0, "
    "workspace = excluded.workspace"
)
_SET = "UPDATE fibreflow_runs SET standing = :standing WHERE run = :run"
_ASK = (
    "UPDATE fibreflow_runs SET reason = :reason, code = :code, spent = :spent "
    "WHERE run = :run AND reason = ''"
)
_ASKED = "SELECT reason, code, spent FROM fibreflow_runs WHERE run = :run AND reason <> ''"


@dataclass
class Place:
    """A run's place in the queue. `over`: every feature has reached its end."""

    over: bool = False


def ask_to_stop(fleet: Fleet, run: str, reason: str, code: int, *, spent: bool) -> None:
    """From a worker: an error that concerns the run, not the worker. Blocks."""
    values = {"run": run, "reason": reason, "code": code, "spent": int(spent)}
    fleet.database.do(_ASK, values)


@contextlib.asynccontextmanager
async def at_work(services: Services) -> AsyncIterator[Place]:
    """While the block lasts the run is its fleet's to work on; then it is stopped, or over."""
    place, fleet = Place(), services.fleet
    if fleet is None:
        yield place
        return
    run, root = services.settings.run, str(services.workspace.root)
    await asyncio.to_thread(fleet.held.do, _OPEN, {"run": run, "workspace": root})
    task = asyncio.create_task(_keep(fleet, services))
    try:
        yield place
    finally:
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(_close, fleet, run, "ended" if place.over else "stopped")


def _close(fleet: Fleet, run: str, standing: RunStanding) -> None:
    fleet.held.do(_SET, {"run": run, "standing": standing})


def forget(fleet: Fleet, run: str) -> None:
    """What was kept to go on with a run that has ended. Blocks."""
    fleet.held.run(lambda connection: forgetting.at_end(connection, run))


async def _keep(fleet: Fleet, services: Services) -> None:
    run, stop = services.settings.run, services.stop
    standing: RunStanding = "working"
    while True:
        wanted: RunStanding = "held" if stop.holds else "working"
        try:
            if wanted != standing:
                await asyncio.to_thread(_close, fleet, run, wanted)
                standing = wanted
            for reason, code, spent in await asyncio.to_thread(fleet.held.do, _ASKED, {"run": run}):
                stop.request(reason, code, spent=bool(spent))
            if isinstance(services.journal, SharedJournal):
                services.journal.catch_up()  # its listeners belong to this thread
        except TakenOverError:
            return  # the engine's queue says so too, and has the process leave
        except MachineError as error:
            # It was away for longer than a restart takes: the same command goes on later.
            stop.request(str(error), error.exit_code)
        await asyncio.sleep(_LOOK_SECONDS)
