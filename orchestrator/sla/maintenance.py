"""Whether a moment lies in planned maintenance: cron windows in their own time zones."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.sla.values import Window


def check_cron(text: str) -> str:
    """Raises `ValueError` unless `text` is a cron line of five fields."""
    from croniter import croniter  # noqa: PLC0415

    if len(text.split()) != 5 or not croniter.is_valid(text):
        raise ValueError(
            f"{text[:60]!r} is no cron line; write five fields, such as 0 2 * * 0 in quotes"
        )
    return text


def check_zone(text: str) -> str:
    """Raises `ValueError` for a time zone that the database of zones does not have."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{text[:60]!r} is no time zone; write one such as Europe/Berlin or UTC"
        ) from None
    return text


def is_open(windows: Iterable[Window], now: float) -> bool:
    """Whether `now` (seconds since the epoch) lies in one of the windows, ends excluded."""
    return any(_began(window, now) > now - window.seconds for window in windows)


def _began(window: Window, now: float) -> float:
    """When the window last began, at or before `now`."""
    from croniter import croniter  # noqa: PLC0415

    # croniter looks strictly before its start; cron has minutes, so one more second finds now.
    local = datetime.fromtimestamp(now, ZoneInfo(window.time_zone)) + timedelta(seconds=1)
    began: float = croniter(window.cron, local).get_prev(float)
    return began
