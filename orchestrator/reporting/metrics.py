"""Counts what happens in a run, as families of samples in Prometheus' sense: a fold of its events.

Counters begin at 0 with the run and go on where they were when it is resumed, because they are
folded from its events again.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator import events as e
from orchestrator.runs.state import Fold, seconds

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]

#: Seconds: from a quick check to an attempt of hours.
BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One name: what it counts, in which unit, and by which labels. A counter's samples are
    exposed as `NAME_total`, a histogram's as `NAME_bucket`, `NAME_sum` and `NAME_count`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass
class Histogram:
    """`counts[i]`: observations up to `BUCKETS[i]` and above the one before; the last: the rest."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("fibreflow_run_info", "gauge", "1 for the run", ("run", "source", "sandbox")),
        Family("fibreflow_run_last_event_seconds", "gauge", "When something last happened (epoch)"),
        Family("fibreflow_budget_usd", "gauge", "The cap of the run, where it has one"),
        Family("fibreflow_features", "gauge", "Features by where they stand", ("state",)),
        Family("fibreflow_attempts_running", "gauge", "Attempts whose agents are at work"),
        Family("fibreflow_rounds", "counter", "Rounds that were opened", ("tier",)),
        Family("fibreflow_attempts", "counter", "Attempts that began", ("model", "agent")),
        Family("fibreflow_attempts_ended", "counter", "Attempts that ended", ("ending",)),
        Family("fibreflow_attempt_duration_seconds", "histogram", "An agent's time", ("ending",)),
        Family("fibreflow_verifications", "counter", "Patches by their verdict", ("verdict",)),
        Family("fibreflow_verification_duration_seconds", "histogram", "A verification's time"),
        Family("fibreflow_merges", "counter", "Merges by how they ended", ("result",)),
        Family("fibreflow_model_retries", "counter", "Model calls that were made again"),
        Family("fibreflow_tokens", "counter", "Tokens of model calls", ("model", "type")),
        Family("fibreflow_cost_usd", "counter", "What model calls and sandboxes cost", ("for",)),
        Family("fibreflow_cost_unknown", "counter", "What was paid for at an unknown price"),
        Family("fibreflow_warnings", "counter", "Warnings that the run gave"),
        Family(
            "gen_ai_client_operation_duration_seconds",
            "histogram",
            "A model call's time",
            ("gen_ai_operation_name", "gen_ai_request_model"),
        ),
    )
}


class Metrics:
    """Takes events in their order. `value` and `samples` tell the present; not thread-safe."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, Labels], float] = {}
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._fold = Fold()
        self._running: set[tuple[str | None, str | None]] = set()

    def apply(self, event: e.Event) -> None:
        self._fold.apply(event)
        now = seconds(event.time)
        if now is not None:
            self.put("fibreflow_run_last_event_seconds", now)
        does = _RULES.get(type(event))
        if does is not None:
            does(self, event)

    def put(self, name: str, value: float, *labels: str) -> None:
        self._values[name, labels] = value

    def add(self, name: str, *labels: str, by: float = 1.0) -> None:
        key = (name, labels)
        self._values[key] = self._values.get(key, 0.0) + by

    def observe(self, name: str, value: float | None, *labels: str) -> None:
        if value is not None:
            self._histograms.setdefault((name, labels), Histogram()).observe(value)

    def begun(self, event: e.Event) -> None:
        self._running.add((event.feature, event.attempt))

    def ended(self, event: e.Event) -> None:
        self._running.discard((event.feature, event.attempt))

    def values(self) -> Iterator[tuple[Family, Labels, float]]:
        """Every counter's and gauge's samples, unsorted."""
        for (name, labels), value in self._values.items():
            yield FAMILIES[name], labels, value
        yield FAMILIES["fibreflow_attempts_running"], (), len(self._running)
        states = Counter(f.state for f in self._fold.features.values())
        for state, count in states.items():
            yield FAMILIES["fibreflow_features"], (state,), count

    def histograms(self) -> Iterator[tuple[Family, Labels, Histogram]]:
        for (name, labels), found in self._histograms.items():
            yield FAMILIES[name], labels, found


def _run_started(m: Metrics, event: e.RunStarted) -> None:
    m.put("fibreflow_run_info", 1, event.run, event.model, event.sandbox)
    if event.budget_usd is not None:
        m.put("fibreflow_budget_usd", event.budget_usd)


def _attempt_started(m: Metrics, event: e.AttemptStarted) -> None:
    m.add("fibreflow_attempts", event.model, event.agent)
    m.begun(event)


def _attempt_finished(m: Metrics, event: e.AttemptFinished) -> None:
    m.ended(event)
    m.add("fibreflow_attempts_ended", event.ending)
    m.observe("fibreflow_attempt_duration_seconds", event.seconds, event.ending)


def _attempt_cancelled(m: Metrics, event: e.AttemptCancelled) -> None:
    m.ended(event)
    m.add("fibreflow_attempts_ended", "cancelled")


def _called(m: Metrics, event: e.ModelCalled | e.ReflectionFinished) -> None:
    name = "gen_ai_client_operation_duration_seconds"
    m.observe(name, event.seconds, "chat", event.model)
    if event.usage is not None:
        for kind in ("input", "output", "cache_read", "cache_write"):
            m.add("fibreflow_tokens", event.model, kind, by=getattr(event.usage, kind))
    _paid(m, event.cost_usd, "model")


def _paid(m: Metrics, cost: float | None, what: str) -> None:
    if cost is None:
        m.add("fibreflow_cost_unknown")
    else:
        m.add("fibreflow_cost_usd", what, by=cost)


def _verified(m: Metrics, event: e.VerificationFinished) -> None:
    verdict = "passed" if event.passed else "failed" if event.usable else "unusable"
    m.add("fibreflow_verifications", verdict)
    m.observe("fibreflow_verification_duration_seconds", event.seconds)


_RULES: Mapping[type[e.Event], Callable[[Metrics, Any], None]] = {
    e.RunStarted: _run_started,
    e.RoundStarted: lambda m, event: m.add("fibreflow_rounds", event.tier),
    e.AttemptStarted: _attempt_started,
    e.AttemptFinished: _attempt_finished,
    e.AttemptCancelled: _attempt_cancelled,
    e.ModelCalled: _called,
    e.ReflectionFinished: _called,
    e.ModelRetried: lambda m, _event: m.add("fibreflow_model_retries"),
    e.SandboxUsed: lambda m, event: _paid(m, event.cost_usd, "sandbox"),
    e.VerificationFinished: _verified,
    e.MergeFinished: lambda m, _event: m.add("fibreflow_merges", "merged"),
    e.MergeRejected: lambda m, _event: m.add("fibreflow_merges", "rejected"),
    e.WarningGiven: lambda m, _event: m.add("fibreflow_warnings"),
}
