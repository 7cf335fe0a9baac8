"""What happened, in the past tense: frozen values, each to and from one JSON object.

A line of `events.jsonl` is `{"type", "time", "run", "key", ...}` with `feature` and `attempt`
where they apply. `key` names the occurrence: writing the same key twice writes it once, which
is how a step that runs again after a crash leaves no second line.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from orchestrator.events.attempts import (
    AttemptCancelled,
    AttemptFinished,
    AttemptResumed,
    AttemptSelected,
    AttemptStarted,
    ModelCalled,
    ModelRetried,
    RoundDecided,
    RoundStarted,
    VerificationFinished,
    VerificationStarted,
    WaveStarted,
)
from orchestrator.events.features import (
    ControlTaken,
    FeatureBlocked,
    FeatureFailed,
    FeatureMerged,
    FeatureRequeued,
    FeatureSkipped,
    FeatureStarted,
    HoursKept,
    MergeFinished,
    MergeRejected,
    MergeStarted,
    ReviewRequested,
    ReviewResolved,
)
from orchestrator.events.learning import (
    FailureSigned,
    PatternJudged,
    PatternLearned,
    PatternUsed,
    ReflectionFinished,
    RepairStarted,
)
from orchestrator.events.limits import (
    BudgetLow,
    CallLost,
    DataHeld,
    DataOverridden,
    DataRefused,
    DataReleased,
    LimitChanged,
    LimitHit,
)
from orchestrator.events.occurrence import Event
from orchestrator.events.planning import DocumentWritten, PlanFinished, PlanReviewed, PlanStarted
from orchestrator.events.runs import (
    BasePrepared,
    ConnectionAsked,
    DrainRequested,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStopped,
    SandboxUsed,
    WarningGiven,
)
from orchestrator.values import Usage

__all__ = [
    "TYPES",
    "AttemptCancelled",
    "AttemptFinished",
    "AttemptResumed",
    "AttemptSelected",
    "AttemptStarted",
    "BasePrepared",
    "BudgetLow",
    "CallLost",
    "ConnectionAsked",
    "ControlTaken",
    "DataHeld",
    "DataOverridden",
    "DataRefused",
    "DataReleased",
    "DocumentWritten",
    "DrainRequested",
    "Event",
    "FailureSigned",
    "FeatureBlocked",
    "FeatureFailed",
    "FeatureMerged",
    "FeatureRequeued",
    "FeatureSkipped",
    "FeatureStarted",
    "HoursKept",
    "LimitChanged",
    "LimitHit",
    "MergeFinished",
    "MergeRejected",
    "MergeStarted",
    "ModelCalled",
    "ModelRetried",
    "PatternJudged",
    "PatternLearned",
    "PatternUsed",
    "PlanFinished",
    "PlanReviewed",
    "PlanStarted",
    "ReflectionFinished",
    "RepairStarted",
    "ReviewRequested",
    "ReviewResolved",
    "RoundDecided",
    "RoundStarted",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "RunStopped",
    "SandboxUsed",
    "VerificationFinished",
    "VerificationStarted",
    "WarningGiven",
    "WaveStarted",
    "from_json",
    "to_json",
]


TYPES: Mapping[str, type[Event]] = {cls.__name__: cls for cls in Event.__subclasses__()}


def to_json(event: Event) -> dict[str, Any]:
    """A JSON object; `feature` and `attempt` are left out where they do not apply. Elsewhere
    None is written, because it says something: unknown, or not measured."""
    head: dict[str, Any] = {"type": event.type, "time": event.time}
    key = event.key
    if key is not None:
        head["key"] = key
    # Not `dataclasses.asdict`, which copies everything deeply: this runs for every event.
    for field in fields(event):
        name, value = field.name, getattr(event, field.name)
        if value is not None or name not in {"feature", "attempt"}:
            head[name] = asdict(value) if isinstance(value, Usage) else value
    return head


def from_json(data: Mapping[str, Any]) -> Event | None:
    """The event, or None for a type that this version does not know (a newer one wrote it)."""
    cls = TYPES.get(str(data.get("type")))
    if cls is None:
        return None
    known = {f.name for f in fields(cls)}
    values = {k: v for k, v in data.items() if k in known}
    if isinstance(values.get("usage"), Mapping):
        values["usage"] = Usage(**values["usage"])
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    return cls(**values)
