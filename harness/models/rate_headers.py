"""Reads what a provider's headers say about its limits: how long to wait before asking again."""

import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from orchestrator.values import Usage

_PREFIX = "anthropic-ratelimit-"
#: What a limit counts, and how much of it one more call like the last would take.
_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds from the header `retry-after`: a number, or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


def refused_for(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a refusal (429) asks for: `retry-after`, else the end of a subscription's
    window, else when one more request fits; None when it says nothing."""
    asked = retry_after(headers.get("retry-after"), now)
    if asked is not None:
        return asked
    window = _number(headers.get(_PREFIX + "unified-reset"))
    if window is not None:
        return max(0.0, window - now)
    return until_next(headers, None, now)


def window_closed(headers: Mapping[str, str]) -> bool:
    """Whether it is a subscription's window, of hours or days, that is used up."""
    return headers.get(_PREFIX + "unified-status", "") == "rejected"


def until_next(
    headers: Mapping[str, str], used: Usage | None, now: float | None = None
) -> float | None:
    """Seconds until one more call like the last, which took `used`, fits; None when it fits now.

    `remaining` is what is left, `reset` (RFC 3339) when the limit is full again; it refills
    evenly in between, so that waiting for `reset` itself would waste most of it.
    """
    now = time.time() if now is None else now
    waits = [_until(headers, kind, _taken(kind, used), now) for kind in _KINDS]
    return max((wait for wait in waits if wait is not None), default=None)


def _until(headers: Mapping[str, str], kind: str, taken: float, now: float) -> float | None:
    limit = _number(headers.get(f"{_PREFIX}{kind}-limit"))
    left = _number(headers.get(f"{_PREFIX}{kind}-remaining"))
    full = _moment(headers.get(f"{_PREFIX}{kind}-reset"))
    if not limit or left is None or full is None or left > 0 or full <= now:
        return None
    return (full - now) * min(1.0, taken / limit)


def _taken(kind: str, used: Usage | None) -> float:
    if kind == "requests" or used is None:
        return 1.0
    # Cache reads count for no limit of the API's.
    read = used.input + used.cache_write
    return {"input-tokens": read, "output-tokens": used.output}.get(kind, read + used.output)


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None


def _moment(value: str | None) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if value else None
    except ValueError:
        return None
