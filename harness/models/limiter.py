"""Decides how many calls to one model may be in flight, from what the provider says about them.

Additive increase, multiplicative decrease, as TCP does: each full round of answers allows one
call more (twice as many, before the first 429), a 429 takes a share away; a failing
provider (5xx) says nothing about our rate. After a 429 nobody is let in before the provider said.
Turns go to the feature with the fewest calls in flight, and among equals to the one that was
served longest ago; a turn that met a 429 was none.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from harness.ports import Clock

#: Where a limit begins: enough for a small plan's per-minute limits, found out in a round or two.
START = 8.0
#: What a 429 leaves of the limit. Gentler than TCP's half, for the provider says besides how long
#: to hold back, and its buckets refill evenly.
DECREASE = 0.8
#: More calls at once than any worker count of ours.
CEILING = 1000.0
#: Seconds to hold everybody back after a 429 that names no time.
PAUSE = 1.0

#: Seconds to hold everybody back for what a good answer says of a limit. Limits are counted by the
#: minute; of a longer one a 429 tells, and one that was told wrongly stops nobody for good.
MOST_PAUSE = 60.0

#: (the limit now, why it changed, seconds during which nobody is let in)
Changed = Callable[[int, str, float], None]


@dataclass(eq=False)
class _Waiter:
    who: str
    ready: asyncio.Future[tuple[int, int]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Turn:
    """One call's place among those in flight. Tell it how the call went."""

    def __init__(self, limiter: "Limiter", epoch: int, number: int) -> None:
        self._limiter = limiter
        self._epoch = epoch
        self._number = number
        self.refused = False

    def answered(self, pause: float | None = None) -> None:
        """`pause`: the answer says that a limit is used up for so many seconds."""
        self._limiter.grow(self._number)
        if pause:
            self._limiter.hold("a limit is used up", min(pause, MOST_PAUSE))

    def limited(self, retry_after: float | None) -> None:
        """429. Calls that were in the air together are one sign, not many."""
        self.refused = True
        self._limiter.shrink(self._epoch, PAUSE if retry_after is None else retry_after)

    def spent(self, retry_after: float | None) -> None:
        """A quota is used up, which says nothing about how many calls may fly."""
        self._limiter.hold("the quota is used up", retry_after or PAUSE)


class Limiter:
    """The adaptive limit of one model. One event loop; time comes from the clock."""

    def __init__(
        self, clock: Clock, *, changed: Changed = lambda *_: None, start: float = START
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._limit = start
        self._told = int(start)
        self._epoch = 0
        self._until = 0.0
        self._queue: list[_Waiter] = []
        self._flying: Counter[str] = Counter()
        self._last: dict[str, int] = {}  # when each feature was served last
        self._served = 0
        self._admitted = 0
        self._full = 0  # the call with which the limit was reached last
        self._resuming: asyncio.Task[None] | None = None

    @property
    def limit(self) -> int:
        return int(self._limit)

    @property
    def in_flight(self) -> int:
        return self._flying.total()

    @contextlib.asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[Turn]:
        """Waits until one more call may fly. `who` is what turns are shared fairly among."""
        waiter = _Waiter(who)
        self._queue.append(waiter)
        self._admit()
        try:
            epoch, number = await waiter.ready
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
            elif not waiter.ready.cancelled():
                self._leave(who)  # it was let in, and does not want to any more
            raise
        turn = Turn(self, epoch, number)
        try:
            yield turn
        finally:
            if not turn.refused:
                self._served += 1
                self._last[who] = self._served
            self._leave(who)

    def grow(self, number: int) -> None:
        """An answer to call `number` counts when the limit was reached while it was in the air."""
        if self._full >= number:
            more = 1 / self._limit if self._epoch else 1.0
            self._limit = min(CEILING, self._limit + more)
            if self.limit >= 1.25 * self._told:
                self._tell("answers came", 0.0)

    def shrink(self, epoch: int, pause: float) -> None:
        if epoch == self._epoch:
            self._epoch += 1
            self._limit = max(1.0, self._limit * DECREASE)
            self._tell("429: too many requests", pause)
        self._hold(pause)

    def hold(self, why: str, seconds: float) -> None:
        """Let nobody in for so many seconds."""
        if self._clock.monotonic() + seconds > self._until:
            self._tell(why, seconds)
        self._hold(seconds)

    def close(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()

    def _hold(self, seconds: float) -> None:
        self._until = max(self._until, self._clock.monotonic() + seconds)
        if self._resuming is None or self._resuming.done():
            self._resuming = asyncio.create_task(self._resume())

    async def _resume(self) -> None:
        while (left := self._until - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)
        self._admit()

    def _admit(self) -> None:
        if self._clock.monotonic() < self._until:
            return
        while self._queue and self.in_flight < self.limit:
            place = min(
                range(len(self._queue)),
                key=lambda n: (
                    self._flying[self._queue[n].who],
                    self._last.get(self._queue[n].who, -1),
                    n,
                ),
            )
            waiter = self._queue.pop(place)
            if waiter.ready.cancelled():
                continue
            self._flying[waiter.who] += 1
            self._admitted += 1
            if self.in_flight >= self.limit:
                self._full = self._admitted
            waiter.ready.set_result((self._epoch, self._admitted))

    def _leave(self, who: str) -> None:
        self._flying[who] -= 1
        if not self._flying[who]:
            del self._flying[who]
        self._admit()

    def _tell(self, why: str, pause: float) -> None:
        self._told = self.limit
        self._changed(self.limit, why, pause)
