"""What a provider allows: a token bucket that refills evenly, and says where it stands."""

from collections.abc import Callable
from datetime import UTC, datetime


class TokenBucket:
    """`limit` requests per minute. `per_minute` may be changed while it is in use; what was
    allowed until then stays allowed. `allowed` is the most it could have let through so far.
    """

    def __init__(self, limit: float, clock: Callable[[], float], *, burst: float | None = None):
        self._clock = clock
        self._rate = limit / 60
        self.burst = limit if burst is None else burst
        self._level = self.burst
        self._seen = self._began = clock()
        self.allowed = self.burst
        self.taken = 0
        self.refused = 0

    def change(self, limit: float) -> None:
        self._refill()
        self._rate = limit / 60

    def take(self) -> float | None:
        """None when there was one, else the seconds until there is."""
        self._refill()
        if self._level >= 1:
            self._level -= 1
            self.taken += 1
            return None
        self.refused += 1
        return (1 - self._level) / self._rate

    def settle(self) -> float:
        """`allowed`, up to now."""
        self._refill()
        return self.allowed

    def headers(self, epoch: float) -> dict[str, str]:
        """As the Messages API writes them: `reset` is when it will be full again."""
        self._refill()
        full = epoch + (self.burst - self._level) / self._rate
        return {
            "anthropic-ratelimit-requests-limit": str(int(self.burst)),
            "anthropic-ratelimit-requests-remaining": str(int(self._level)),
            "anthropic-ratelimit-requests-reset": datetime.fromtimestamp(full, UTC)
            .isoformat()
            .replace("+00:00", "Z"),
        }

    def durations(self) -> dict[str, str]:
        """As Chat Completions writes them: `reset` is how long until it will be full again."""
        self._refill()
        return {
            "x-ratelimit-limit-requests": str(int(self.burst)),
            "x-ratelimit-remaining-requests": str(int(self._level)),
            "x-ratelimit-reset-requests": f"{(self.burst - self._level) / self._rate:.3f}s",
        }

    def _refill(self) -> None:
        now = self._clock()
        came = (now - self._seen) * self._rate
        self.allowed += came
        self._level = min(self.burst, self._level + came)
        self._seen = now
