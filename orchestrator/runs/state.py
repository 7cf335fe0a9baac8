"""The state of a run as a fold of its events, and what is left of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from orchestrator import events as e
from orchestrator.runs.changes import (
    ATTEMPT_CHANGES,
    FEATURE_CHANGES,
    RUN_CHANGES,
    counted,
    more,
)
from orchestrator.runs.course import NOTHING, AttemptState, FeatureState, RunState
from orchestrator.runs.transitions import ATTEMPT_MOVES, FEATURE_MOVES, NEW, happening

__all__ = [
    "OVER",
    "AttemptState",
    "FeatureState",
    "Fold",
    "RunState",
    "apply",
    "critical_path_left",
    "fold",
    "seconds",
    "seconds_left",
]

#: Feature states that nothing but a person's decision or a later run changes.
OVER: frozenset[str] = frozenset({"merged", "failed", "blocked", "review", "skipped"})


class Fold:
    """Applies events one by one, each in time that does not grow with the number of features."""

    def __init__(self, initial: RunState | None = None) -> None:
        self._run = initial if initial is not None else RunState()
        self._features = dict(self._run.features)
        self._latest = self._run.latest
        self._snapshot: RunState | None = self._run

    @property
    def state(self) -> RunState:
        """The present state, which later events leave as it is."""
        if self._snapshot is None:
            features = MappingProxyType(dict(self._features))
            self._run = replace(self._run, features=features, latest=self._latest)
            self._snapshot = self._run
        return self._snapshot

    @property
    def features(self) -> Mapping[str, FeatureState]:
        """The present features as a live view: cheaper than `state` for one look."""
        return MappingProxyType(self._features)

    def apply(self, event: e.Event) -> None:
        """Take one event in. One that cannot have happened changes only `anomalies`."""
        self._snapshot = None
        now = seconds(event.time)
        if isinstance(event, e.RunResumed):
            self._rest(now)
        if now is not None:
            self._latest = now  # into the state when somebody asks: most events change little else
        change = RUN_CHANGES.get(type(event))
        if change is not None:
            self._run = change(replace(self._run, latest=self._latest), event)
            if isinstance(event, e.RunStarted):
                self._features = dict(self._run.features)
            return
        feature = self._features.get(event.feature or "")
        # Money first: it was spent even by an attempt whose other events make no sense.
        self._run = counted(self._run, event)
        if feature is None:
            self._odd(event, "of a feature that this run does not have")
            return
        if event.type in ATTEMPT_MOVES:
            feature = self._attempt(feature, event, now)
        if event.type in FEATURE_MOVES:
            feature = self._feature(feature, event, now)
        self._features[feature.id] = feature

    def _rest(self, now: float | None) -> None:
        """Time in which no process was at work counts for nobody: the starts move up by it."""
        gap = now - self._latest if now is not None and self._latest is not None else 0.0
        if gap <= 0:
            return
        if self._run.started is not None:
            self._run = replace(self._run, started=self._run.started + gap)
        for id_, feature in self._features.items():
            if feature.started is not None and feature.state not in OVER:
                self._features[id_] = replace(feature, started=feature.started + gap)

    def _attempt(self, feature: FeatureState, event: e.Event, now: float | None) -> FeatureState:
        name = event.attempt or ""
        old = feature.attempts.get(name)
        state = old.state if old is not None else NEW
        target = ATTEMPT_MOVES[event.type].get(happening(event), NOTHING).get(state)
        if target is None or not name:
            self._odd(event, f"of an attempt that is {state}")
            return feature
        attempt = old if old is not None else AttemptState(name, started=now)
        change = ATTEMPT_CHANGES.get(type(event))
        if change is not None:
            attempt = change(attempt, event)
        attempt = replace(attempt, state=target)
        spent = attempt.cost_usd - (old.cost_usd if old is not None else 0.0)
        if isinstance(event, e.AttemptFinished):  # a call has been counted in `counted`
            self._run = replace(
                self._run,
                cost_usd=self._run.cost_usd + spent,
                unknown_cost=self._run.unknown_cost or attempt.unknown_cost,
            )
        return replace(
            feature,
            attempts={**feature.attempts, name: attempt},
            cost_usd=feature.cost_usd + spent,
            unknown_cost=feature.unknown_cost or attempt.unknown_cost,
        )

    def _feature(self, feature: FeatureState, event: e.Event, now: float | None) -> FeatureState:
        target = FEATURE_MOVES[event.type].get(feature.state)
        if target is None:
            self._odd(event, f"of a feature that is {feature.state}")
            return feature
        change = FEATURE_CHANGES.get(type(event))
        if change is not None:
            feature = change(feature, event)
        started = feature.started
        if isinstance(event, e.FeatureStarted) and started is None:
            started = now
        over = target in OVER
        return replace(feature, state=target, started=started, finished=now if over else None)

    def _odd(self, event: e.Event, what: str) -> None:
        subject = "/".join(p for p in (event.feature, event.attempt) if p)
        text = f"{event.type} {subject}: {what}".replace(" : ", ": ")
        self._run = replace(self._run, anomalies=more(self._run.anomalies, text))


def fold(events: Iterable[e.Event], initial: RunState | None = None) -> RunState:
    """The state after `events`, from the beginning or from `initial`."""
    folding = Fold(initial)
    for event in events:
        folding.apply(event)
    return folding.state


def apply(state: RunState, event: e.Event) -> RunState:
    """One step of the fold. Copies the table of features; use `Fold` for many."""
    return fold((event,), state)


def seconds(time: str) -> float | None:
    """An event's time as seconds since the epoch; None when it has none."""
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None


def critical_path_left(state: RunState) -> int:
    """How many features the longest chain of unfinished ones has; 0 when all are over."""
    open_ids = {f.id for f in state.features.values() if f.state not in OVER}
    waits = {i: sum(d in open_ids for d in state.features[i].depends_on) for i in open_ids}
    dependents: dict[str, list[str]] = {i: [] for i in open_ids}
    for i in open_ids:
        for dependency in state.features[i].depends_on:
            if dependency in open_ids:
                dependents[dependency].append(i)
    depth = dict.fromkeys(open_ids, 1)
    ready = [i for i, count in waits.items() if count == 0]
    while ready:  # each feature once, in an order where dependencies come first
        done = ready.pop()
        for i in dependents[done]:
            depth[i] = max(depth[i], depth[done] + 1)
            waits[i] -= 1
            if waits[i] == 0:
                ready.append(i)
    return max(depth.values(), default=0)


def seconds_left(state: RunState) -> float | None:
    """A rough forecast: the mean time of features merged in this run times the chain left.

    None as long as this run has merged nothing to learn from.
    """
    took = [f.seconds for f in state.features.values() if f.state == "merged"]
    known = [s for s in took if s is not None]
    return sum(known) / len(known) * critical_path_left(state) if known else None
