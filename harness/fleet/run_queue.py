"""One run's queue of attempts: the run puts work in and hears of its ends, and this process plays
as many of them as it has places for."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.fleet.claims import Claims, Ended
from harness.fleet.pump import Pump, Tell
from orchestrator.errors import FibreFlowError, MachineError

#: How often the ends of attempts on other machines are looked for.
_LOOK_SECONDS = 0.25
#: How long what is cancelled may take to clean up before it is gone on without it.
_CANCEL_SECONDS = 10.0


class RunQueue:
    """`pump` plays what is taken here; `tell` hears of what other processes have ended."""

    def __init__(self, claims: Claims, run: str, pump: Pump, tell: Tell) -> None:
        self._claims = claims
        self._run = run
        self._pump = pump
        self._pump.runs = lambda: (run,)
        self._tell = tell
        self._shared = claims.database.shared
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, session: Callable[[], str], failed: Callable[[FibreFlowError], None]) -> None:
        """`session`: as for `Pump.run`. `failed` is told when the queue cannot be used any more:
        nothing would be taken, or heard of."""

        def notice(task: "asyncio.Task[None]") -> None:
            error = None if task.cancelled() else task.exception()
            if isinstance(error, FibreFlowError):
                failed(error)

        bodies = [self._pump.run(session), *([self._listen()] if self._shared else [])]
        self._tasks = [asyncio.create_task(body) for body in bodies]
        for task in self._tasks:
            task.add_done_callback(notice)

    async def _listen(self) -> None:
        while True:
            news = await asyncio.to_thread(self._claims.news, self._run)
            if news:
                await self._tell(news)
            await asyncio.sleep(_LOOK_SECONDS)

    async def insert(
        self, kind: str, work: Mapping[str, tuple[str, Sequence[Any]]], priority: int
    ) -> None:
        """As `Claims.insert`; `kick` has it looked at."""
        await asyncio.to_thread(self._claims.insert, self._run, kind, work, priority)

    def kick(self) -> None:
        """There may be something to take."""
        self._pump.kick()

    async def cancel(self, ids: Sequence[str]) -> None:
        """Also in the middle when it runs here."""
        await asyncio.to_thread(self._claims.cancel, ids)
        tasks = self._pump.cancel(ids)
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    async def set_places(self, places: int) -> None:
        """From now on so many run at once, in a fleet on all machines."""
        if self._shared:
            await asyncio.to_thread(self._claims.limit_run, self._run, places)
        self._pump.places = places
        self._pump.kick()

    async def is_at_work(self) -> bool:
        """Whether another process of the fleet works on something of this run."""
        return self._shared and await asyncio.to_thread(self._claims.is_at_work, self._run)

    async def close(self) -> dict[str, Ended]:
        """Let go of it. What was cancelled on other machines has ended by now, and is told here;
        where that cannot be asked, the next start does."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if not self._shared:
            await asyncio.to_thread(self._claims.database.close)
            return {}
        with contextlib.suppress(MachineError):
            return await asyncio.to_thread(self._claims.known, self._run)
        return {}
