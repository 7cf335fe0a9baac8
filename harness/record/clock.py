"""The real clock: time of day, a monotonic count and sleeping, behind the `Clock` port."""

import time
from datetime import UTC, datetime


class SystemClock:
    """`ports.Clock` on this machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # noqa: PLC0415 - `list` and `status` only ask for the time

        await asyncio.sleep(seconds)


def iso(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC with milliseconds, `2026-11-21T08:42:17.123Z`."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
