"""Reads what a provider's headers say about its limits: how long to wait before asking again."""

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from orchestrator.values import Usage

_PREFIX = "anthropic-ratelimit-"
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
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
    exactly = _number(headers.get("retry-after-ms"))  # OpenAI's; `retry-after` is it, rounded
    if exactly is not None and exactly >= 0:
        return exactly / 1000
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

    `remaining` is what is left, `reset` (Anthropic: a time of RFC 3339; OpenAI and those like it: a
    duration) when the limit is full again; it refills evenly in between, so that waiting for
    `reset` itself would waste most of it.
    """
    now = time.time() if now is None else now
    waits = [_until(headers, kind, _taken(kind, used), now) for kind in _KINDS]
    return max((wait for wait in waits if wait is not None), default=None)


def _until(headers: Mapping[str, str], kind: str, taken: float, now: float) -> float | None:
    standing = _anthropics(headers, kind, now) or _openais(headers, kind)
    if standing is None:
        return None
    limit, left, full = standing
    return full * min(1.0, taken / limit) if left <= 0 < limit and full > 0 else None


#: What a limit is, what is left of it, and the seconds until all of it is there again.
_Standing = tuple[float, float, float]


def _anthropics(headers: Mapping[str, str], kind: str, now: float) -> _Standing | None:
    limit = _number(headers.get(f"{_PREFIX}{kind}-limit"))
    left = _number(headers.get(f"{_PREFIX}{kind}-remaining"))
    full = _moment(headers.get(f"{_PREFIX}{kind}-reset"))
    return None if limit is None or left is None or full is None else (limit, left, full - now)


def _openais(headers: Mapping[str, str], kind: str) -> _Standing | None:
    limit = _number(headers.get(f"x-ratelimit-limit-{kind}"))
    left = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
    full = _duration(headers.get(f"x-ratelimit-reset-{kind}"))
    return None if limit is None or left is None or full is None else (limit, left, full)


def _taken(kind: str, used: Usage | None) -> float:
    if kind == "requests" or used is None:
        return 1.0
    # Cache reads count for no limit of the API's.
    read = used.input + used.cache_write
    return {"input-tokens": read, "output-tokens": used.output}.get(kind, read + used.output)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _duration(value: str | None) -> float | None:
    """Seconds of `120ms`, `1s`, `6m0s` or `1h2m3.5s`; a bare number is seconds as well."""
    match = _DURATION.fullmatch(value) if value else None
    if match is None or value is None:
        return _number(value)
    hours, minutes, seconds, thousandths = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _moment(value: str | None) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if value else None
    except ValueError:
        return None
