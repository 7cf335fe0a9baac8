"""Takes attempts from the queue while this process has free places, and plays them.

Ends are written many at a time, and only then told: whoever waits for an attempt learns of an end
that is on file. What another process cancelled, or took over, is cancelled here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from harness.fleet.claims import Claim, Claims, Ended
from harness.record import taken
from harness.record.taken import Taken
from orchestrator.errors import TakenOverError

#: Between two looks at a database that others write to; without others, nothing is looked for.
_LOOK_SECONDS = 0.25

Play = Callable[[Claim], Awaitable[dict[str, Any]]]
Tell = Callable[[dict[str, Ended]], Awaitable[None]]


class Pump:
    """Plays what this process takes. `play` gives an outcome, and raises only what says that the
    process is leaving. `tell` hears of ends that are on file; without it, another process does."""

    def __init__(
        self, claims: Claims, play: Play, tell: Tell | None = None, *, places: int
    ) -> None:
        self.places = places
        self.runs: Callable[[], Sequence[str]] | None = None
        self.live: dict[str, asyncio.Task[None]] = {}
        self._sessions: dict[str, str] = {}
        self._claims = claims
        self._play = play
        self._tell = tell
        self._ended: dict[str, dict[str, Ended]] = {}
        self._kicked = asyncio.Event()

    def kick(self) -> None:
        """There may be something to take, or to write."""
        self._kicked.set()

    async def run(self, session: Callable[[], str]) -> None:
        """Until cancelled. `session`: under which to take what is taken next."""
        wait = _LOOK_SECONDS if self._claims.database.shared else None
        while True:
            await self._flush()
            await self._take(session())
            if self._claims.database.shared:
                await self._let_go(session())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._kicked.wait(), wait)
            self._kicked.clear()

    async def _take(self, session: str) -> None:
        free = self.places - len(self.live)
        runs = self.runs() if self.runs is not None else None
        if free <= 0 or runs == ():
            return
        with contextlib.suppress(TakenOverError):  # the keeper begins another session
            for claim in await asyncio.to_thread(self._claims.take, session, free, runs):
                self._sessions[claim.id] = session
                self.live[claim.id] = asyncio.create_task(self._one(claim, session))

    async def _one(self, claim: Claim, session: str) -> None:
        if self._claims.database.shared:
            taken.current.set(Taken(session, claim.generation))
        try:
            outcome = await self._play(claim)
        except TakenOverError:
            return  # others do it again
        finally:
            self.live.pop(claim.id, None)
            self._sessions.pop(claim.id, None)
            self._kicked.set()
        self._ended.setdefault(session, {})[claim.id] = (outcome, claim.generation)

    async def _flush(self) -> None:
        while self._ended:
            session = next(iter(self._ended))
            ends = self._ended.pop(session)
            try:
                told = self._tell is not None
                await asyncio.to_thread(self._claims.end, session, ends, told=told)
            except TakenOverError:
                continue  # others do it again
            if self._tell is not None:
                await self._tell(ends)

    async def _let_go(self, session: str) -> None:
        """Cancel what is not this process's to do any more."""
        mine = [id_ for id_, under in self._sessions.items() if under == session]
        others = [id_ for id_ in self._sessions if id_ not in mine]
        if mine:
            left = await asyncio.to_thread(self._claims.standing, session)
            others += [id_ for id_ in mine if id_ not in left]
        self.cancel(others)

    def cancel(self, ids: Sequence[str]) -> list["asyncio.Task[None]"]:
        """Cancel what is at work here, also in the middle; the tasks that are to end."""
        tasks = [self.live[id_] for id_ in ids if id_ in self.live]
        for task in tasks:
            task.cancel()
        return tasks
