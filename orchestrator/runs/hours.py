"""When a run may begin work: not before a moment, until another, and never in quiet hours."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Hours:
    """Moments of one run, in local time. `quiet`: (from, to) of each day, over midnight too, in
    which nothing begins; `until`: nothing begins from then on, and the run leaves."""

    not_before: datetime | None = None
    until: datetime | None = None
    quiet: tuple[time, time] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """`waits`: why nothing may begin, None when work may. `over`: the run's time is up. `change`:
    when to look again, None when nothing will change."""

    waits: str | None = None
    over: bool = False
    change: datetime | None = None


def standing(hours: Hours, now: datetime) -> Standing:
    """What holds at `now`."""
    if hours.until is not None and now >= hours.until:
        return Standing(f"it is past {hours.until:%H:%M}", over=True)
    changes = [] if hours.until is None else [hours.until]
    if hours.not_before is not None and now < hours.not_before:
        changes.append(hours.not_before)
        return Standing(f"not before {hours.not_before:%H:%M}", change=min(changes))
    if hours.quiet is None:
        return Standing(change=min(changes, default=None))
    start, end = (_next(now, at) for at in hours.quiet)
    # When their end comes before their beginning, they are now.
    first, last = hours.quiet
    why = f"quiet hours from {first:%H:%M} to {last:%H:%M}" if end < start else None
    return Standing(why, change=min([*changes, start, end]))


def moment(text: str, now: datetime) -> datetime:
    """`07:00` as its next occurrence after `now`, or an ISO date and time as it is (local time).

    Raises `ValueError`.
    """
    try:
        return _next(now, time.fromisoformat(text))
    except ValueError:
        when = datetime.fromisoformat(text)
        return when.astimezone().replace(tzinfo=None) if when.tzinfo is not None else when


def span(text: str) -> tuple[time, time]:
    """`22:00-07:00`. Raises `ValueError`."""
    first, _, last = text.partition("-")
    times = time.fromisoformat(first), time.fromisoformat(last)
    if times[0] == times[1]:
        raise ValueError(text)
    return times


def _next(now: datetime, at: time) -> datetime:
    when = datetime.combine(now.date(), at)
    return when if when > now else when + _DAY
