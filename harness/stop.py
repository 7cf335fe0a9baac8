"""Stopping: who asked for it, and the gate that lets running work end and no new work begin.

Stopping needs no clean-up of its own, because a killed process loses nothing either: work that
waits at the gate is simply left there, and the next start of the run takes it up again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import NoReturn

#: After the last piece of work ends, its feature may still go on to its merge.
_SETTLE_SECONDS = 0.5


class Stop:
    """Asked at most once; the first reason counts."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.exit_code = 0
        self._spent = asyncio.Event()
        self._asked = asyncio.Event()
        self._active = 0
        self._owed: set[str] = set()
        self._paused: set[str] = set()
        self._running = asyncio.Event()
        self._running.set()
        self._changed = asyncio.Event()

    def request(self, reason: str, exit_code: int, *, spent: bool = False) -> bool:
        """Begin to drain. False when that had begun already. `spent`: no model will be asked any
        more, for want of money."""
        if spent:
            self._spent.set()
        if self.reason is not None:
            return False
        self.reason, self.exit_code = reason, exit_code
        self._asked.set()
        self._changed.set()
        return True

    @property
    def is_spent(self) -> bool:
        """Whether no model will be asked any more, for want of money."""
        return self._spent.is_set()

    @property
    def holds(self) -> bool:
        """Whether no new work begins for now, or any more."""
        return self.reason is not None or bool(self._paused)

    def pause(self, why: str) -> None:
        """No new work begins until `go_on` was called for every reason to wait."""
        self._paused.add(why)
        self._running.clear()

    def go_on(self, why: str) -> None:
        self._paused.discard(why)
        if not self._paused:
            self._running.set()

    @contextlib.asynccontextmanager
    async def work(self, *, begun: bool = False) -> AsyncIterator[None]:
        """Around one piece of work. While draining, new work waits here for ever, and while paused
        until it goes on; work that completes what had `begun` before is let through."""
        if not begun:
            await self._running.wait()
        if self.reason is not None and not begun:
            await self.hold()
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            self._changed.set()

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Around a wait within work, for the provider for example, that a drain must not share:
        leaving loses nothing that waiting would have kept."""
        self._active -= 1
        self._changed.set()
        try:
            yield
        finally:
            self._active += 1

    def hand_over(self, feature: str) -> None:
        """What ended is now its feature's to act on, by a choice and a merge perhaps: no drain is
        complete before the feature says `settle`."""
        self._owed.add(feature)

    def settle(self, feature: str) -> None:
        """The feature has acted on all that it was handed."""
        self._owed.discard(feature)
        self._changed.set()

    async def hold(self) -> NoReturn:
        """Leave the caller waiting until the process ends: its work is for the next start.
        Call it outside of `work()`, for what waits is not at work."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody completes this future")

    async def spent(self, feature: str) -> None:
        """Returns when the money is used up and what was at work with it has ended; that is then
        handed over to `feature`, which asked."""
        await self._spent.wait()
        while self._active:
            self._changed.clear()
            await self._changed.wait()
        self.hand_over(feature)

    async def drained(self) -> None:
        """Returns when a stop was asked for, and nothing is at work or handed over any more."""
        await self._asked.wait()
        while True:
            self._changed.clear()
            if self._active == 0 and not self._owed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _SETTLE_SECONDS)
                    continue
                return
            await self._changed.wait()
