"""Keeps a run and its place in the fleet's queue in step: who may begin work on it, and who asked
for its end.

Both sides are looked at a few times a second, for either may change on another machine.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from harness.fleet import forgetting
from harness.fleet.member import Fleet
from harness.fleet.standing import RunStanding, put
from harness.record.journal_shared import SharedJournal
from harness.services import Services
from orchestrator.errors import MachineError, TakenOverError

_LOOK_SECONDS = 0.3

_ASK = (
    "UPDATE fibreflow_runs SET reason = :reason, code = :code, spent = :spent "
    "WHERE run = :run AND reason = ''"
)
_ASKED = "SELECT reason, code, spent FROM fibreflow_runs WHERE run = :run AND reason <> ''"


def ask_to_stop(fleet: Fleet, run: str, reason: str, code: int, *, spent: bool) -> None:
    """From a worker: an error that concerns the run, not the worker. Blocks."""
    values = {"run": run, "reason": reason, "code": code, "spent": int(spent)}
    fleet.database.do(_ASK, values)


@contextlib.asynccontextmanager
async def at_work(services: Services) -> AsyncIterator[None]:
    """Keeps both in step while the block lasts."""
    if services.fleet is None:
        yield
        return
    task = asyncio.create_task(_keep(services.fleet, services))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


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
                await asyncio.to_thread(put, fleet, run, wanted)
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
