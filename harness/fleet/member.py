"""This process as one of many on one Postgres: its sessions, and the keeper that minds the others.

Two threads of their own, so that neither a busy event loop nor a slow transaction makes a live
process look dead: one renews the sessions, the other removes those of the dead.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from harness import database
from harness.database import Database
from harness.fleet import sessions
from harness.fleet.claims import TABLES as CLAIM_TABLES
from harness.fleet.claims import Claims
from harness.record import budget_shared, journal_shared
from orchestrator.errors import MachineError
from orchestrator.runs.signs import Signs

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BEAT_SECONDS = 1.0
#: How long a thread may take to end: it may be waiting for a database that is away.
_JOIN_SECONDS = 2.0

TABLES = (*sessions.TABLES, *CLAIM_TABLES, *journal_shared.TABLES, *budget_shared.TABLES)


@contextlib.asynccontextmanager
async def joined(*, places: int, run: str | None = None) -> "AsyncIterator[Fleet | None]":
    """Membership for as long as the block lasts; None where no database is named.

    Raises `WorkspaceLockedError` when a live process holds the run, `MachineError` when the
    database cannot be used.
    """
    url = database.url()
    if url is None:
        yield None
        return
    fleet = await asyncio.to_thread(Fleet, url, places=places, run=run)
    try:
        await asyncio.to_thread(fleet.join)
        yield fleet
    finally:
        await asyncio.to_thread(fleet.leave)


class Fleet:
    """Membership of one process. `join` before anything else, `leave` last.

    `worker`: the session under which attempts are taken; after a freeze it is another one, since
    the first was removed. `holder`: the session that holds `run`; None in a plain worker. Once it
    is lost the run belongs to somebody else.
    """

    def __init__(self, url: str, *, places: int, run: str | None = None) -> None:
        self.url = url
        self.database = Database(url, TABLES)
        #: For what only whoever holds the run may read and write.
        self.held = self.database.behind(self.prove)
        self.claims = Claims(self.database)
        self.worker = ""
        self.holder: str | None = None
        #: Every feature of the run has reached its end.
        self.run_is_over = False
        self._places = places
        self._run = run
        self._over = threading.Event()
        self._signs = Signs(time.monotonic(), time.monotonic())
        self._threads: list[threading.Thread] = []

    def join(self) -> None:
        """Blocks shortly. Raises `WorkspaceLockedError` when a live process holds the run."""
        if self._run is not None:
            self.holder = sessions.begin(self.database, places=0, run=self._run)
        self.worker = sessions.begin(self.database, places=self._places)
        for body in (self._beat, self._reap):
            thread = threading.Thread(target=self._again, args=(body,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def prove(self, connection: "Connection") -> None:
        """Within a transaction: the run is this process's. Raises `TakenOverError`."""
        sessions.require(connection, self.holder or "")

    def living(self) -> frozenset[str]:
        """The sessions that gave a sign lately."""
        return frozenset(row[0] for row in sessions.live(self.database))

    def leave(self) -> None:
        """What this process had taken is free at once. Blocks shortly."""
        self._over.set()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        ids = [id_ for id_ in (self.worker, self.holder) if id_]
        sessions.end(self.database, ids, self._give_back)
        self.database.close()

    def _give_back(self, connection: "Connection", gone: list[str]) -> None:
        budget_shared.abandon(connection, gone)
        self.claims.give_back(connection, gone)

    def _again(self, body: Callable[[], None]) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            # A database that is away for minutes is asked again: nothing else can be done here.
            with contextlib.suppress(MachineError):
                body()

    def _beat(self) -> None:
        gone, there = sessions.beat(self.database, [i for i in (self.worker, self.holder) if i])
        self._signs = self._signs.given(time.monotonic(), there, sessions.LEASE_SECONDS)
        if self.worker in gone and not self._over.is_set():
            self.worker = sessions.begin(self.database, places=self._places)

    def can_tell(self) -> bool:
        """Whether whoever gave no sign is dead."""
        return self._signs.can_tell(time.monotonic(), sessions.LEASE_SECONDS)

    def _reap(self) -> None:
        if self.can_tell():
            sessions.reap(self.database, self._give_back)
