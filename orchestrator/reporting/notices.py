"""Which events of a run people should hear of, in their words; merges as one digest at the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator import events
from orchestrator.events import Event
from orchestrator.reporting.wording import counted, money
from orchestrator.runs.state import RunState

#: A shorter pause by a provider's limit is no news. Seconds.
LONG_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Notice:
    """`key` is the same for the same news, so that a restart does not tell it again."""

    key: str
    kind: str
    text: str


def notice_of(event: Event, run: RunState) -> Notice | None:
    """What is to be told of an event; None for most. `run` has the event already."""
    found = _WORDS.get(type(event))
    said = found(event, run) if found is not None else None
    if said is None:
        return None
    kind, part, text = said
    key = "/".join(word for word in (run.run, kind, part) if word)
    return Notice(key, kind, f"{run.run}: {text}")


def is_quiet(hour: int, quiet: tuple[int, int] | None) -> bool:
    """Whether nobody wants to hear news at this hour (0..23). `quiet`: from the first hour up to
    the second, over midnight where that is smaller; None for never."""
    if quiet is None:
        return False
    begin, end = quiet
    return begin <= hour < end if begin <= end else hour >= begin or hour < end


Said = tuple[str, str, str] | None


def _started(_: Event, run: RunState) -> Said:
    return "started", "", f"began with {counted(len(run.features), 'feature')}"


def _review(event: Event, _: RunState) -> Said:
    assert isinstance(event, events.ReviewRequested)
    feature = event.feature or ""
    return "review_needed", feature, f"{feature} waits for a person: {'; '.join(event.reasons)}"


def _budget(event: Event, _: RunState) -> Said:
    assert isinstance(event, events.BudgetLow)
    spent, cap = money(event.spent_usd + event.reserved_usd), money(event.cap_usd)
    return "budget", event.scope, f"{spent} of {cap} are used or reserved for {event.scope}"


def _limit(event: Event, _: RunState) -> Said:
    assert isinstance(event, events.LimitHit)
    return "limit", event.what[:80], event.what


def _pause(event: Event, _: RunState) -> Said:
    assert isinstance(event, events.LimitChanged)
    if event.pause < LONG_PAUSE:
        return None
    return "paused", event.model, f"{event.model} pauses for {event.pause:.0f} s: {event.why}"


def _stopped(event: Event, _: RunState) -> Said:
    assert isinstance(event, events.RunStopped)
    return "stopped", event.time, f"stopped with exit code {event.exit_code}: {event.reason}"


def _finished(event: Event, run: RunState) -> Said:
    """The digest of all that the run came to."""
    assert isinstance(event, events.RunFinished)
    by_end: dict[str, list[str]] = {}
    for feature in run.features.values():
        by_end.setdefault(feature.state, []).append(feature.id)
    ends = "; ".join(f"{end} {', '.join(ids)}" for end, ids in sorted(by_end.items()))
    cost = money(run.cost_usd, run.unknown_cost)
    return "finished", "", f"finished with exit code {event.exit_code}, {cost}: {ends}"


_WORDS: Mapping[type[Event], Callable[[Event, RunState], Said]] = {
    events.RunStarted: _started,
    events.ReviewRequested: _review,
    events.BudgetLow: _budget,
    events.LimitHit: _limit,
    events.LimitChanged: _pause,
    events.RunStopped: _stopped,
    events.RunFinished: _finished,
}
