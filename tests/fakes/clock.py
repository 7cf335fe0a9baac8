"""Time that moves by itself, and only when everybody waits for it."""

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Turns of the event loop after which whoever can go on has gone on.
_SETTLED = 60


class VirtualClock:
    """A `Clock` whose hours pass in milliseconds, in the same order each time. For code without
    threads and sockets: what it waits for besides, this clock cannot see."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._time = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        until = self._time + max(seconds, 0.0)
        heapq.heappush(self._sleepers, (until, next(self._order), woken))
        await woken

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns, with time passing. Raises `AssertionError` when it hangs."""
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(_SETTLED):
                await asyncio.sleep(0)
            if not task.done():
                self._pass(task)
        return await task

    def _pass(self, task: "asyncio.Future[Any]") -> None:
        while self._sleepers:
            self._time, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
                return
        task.cancel()
        raise AssertionError("everybody waits, and nobody for the time")
