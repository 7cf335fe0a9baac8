"""What happened, in the past tense: frozen values, each to and from one JSON object.

A line of `events.jsonl` is `{"type", "time", "run", "key", ...}` with `feature` and `attempt`
where they apply. `key` names the occurrence: writing the same key twice writes it once, which
is how a step that runs again after a crash leaves no second line.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from orchestrator.feature_events import (
    ControlTaken,
    FeatureBlocked,
    FeatureFailed,
    FeatureRequeued,
    FeatureSkipped,
    FeatureStarted,
    HoursKept,
)
from orchestrator.learning_events import (
    FailureSigned,
    PatternJudged,
    PatternLearned,
    PatternUsed,
    ReflectionFinished,
    RepairStarted,
)
from orchestrator.limit_events import (
    BudgetLow,
    CallLost,
    DataHeld,
    DataOverridden,
    DataRefused,
    DataReleased,
    LimitChanged,
    LimitHit,
)
from orchestrator.occurrence import Event
from orchestrator.planning_events import DocumentWritten, PlanFinished, PlanReviewed, PlanStarted
from orchestrator.values import Usage

__all__ = [
    "BudgetLow", "CallLost", "ControlTaken", "DataHeld", "DataOverridden", "DataRefused",
    "DataReleased", "DocumentWritten", "Event", "FailureSigned", "FeatureBlocked",
    "FeatureFailed", "FeatureRequeued", "FeatureSkipped", "FeatureStarted", "HoursKept",
    "LimitChanged", "LimitHit", "PatternJudged", "PatternLearned", "PatternUsed",
    "PlanFinished", "PlanReviewed", "PlanStarted", "ReflectionFinished", "RepairStarted",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """`features`: id -> {"depends_on": [...], "attempts": n}; `integrated`: ids done before."""

    repo: str
    branch: str
    base: str
    features: Mapping[str, Any]
    integrated: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    rounds: int = 3
    model: str = "live"
    sandbox: str = "local"
    budget_usd: float | None = None
    pid: int = 0
    workspace: str = ""  # the folder with logs/; empty in the runs of older versions


@dataclass(frozen=True, kw_only=True)
class RunResumed(Event):
    repeats: ClassVar[bool] = True
    pid: int


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """Every feature has reached its end. `exit_code` is what the process leaves with."""

    repeats: ClassVar[bool] = True
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class RunStopped(Event):
    """The process left before the work was done; the same command continues the run."""

    repeats: ClassVar[bool] = True
    exit_code: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class DrainRequested(Event):
    repeats: ClassVar[bool] = True
    reason: str


@dataclass(frozen=True, kw_only=True)
class WarningGiven(Event):
    message: str

    @property
    def part(self) -> str:
        return self.message


@dataclass(frozen=True, kw_only=True)
class ConnectionAsked(Event):
    """Something in a sandbox asked to connect to a host; `reason` where that was refused."""

    repeats: ClassVar[bool] = True

    sandbox: str
    host: str
    port: int
    allowed: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class BasePrepared(Event):
    """A commit was made ready to fork sandboxes from; `cached`: it had been before this run.
    `workspaces`: how they have its files, `overlay` or `copy`. `id`: the digest of all that it
    was made of, empty in the runs of older versions."""

    commit: str
    seconds: float
    cached: bool = False
    workspaces: str = ""
    id: str = ""

    @property
    def part(self) -> str:
        return self.commit


@dataclass(frozen=True, kw_only=True)
class SandboxUsed(Event):
    """A sandbox that costs money ran for `seconds`; it may run again and be used again."""

    repeats: ClassVar[bool] = True
    sandbox: str
    seconds: float
    cost_usd: float | None


@dataclass(frozen=True, kw_only=True)
class RoundStarted(Event):
    """`why`: what made this round necessary, empty for the first. `tier` and `reasons` are the
    router's; empty in the runs of older versions."""

    round: int
    attempts: int
    commit: str
    why: str = ""
    tier: str = ""
    reasons: tuple[str, ...] = ()
    category: str = ""

    @property
    def part(self) -> str:
        return str(self.round)


@dataclass(frozen=True, kw_only=True)
class WaveStarted(Event):
    """`attempts` more of the round were decided on, `started` having begun before."""

    round: int
    started: int
    attempts: int
    why: str

    @property
    def part(self) -> str:
        return f"{self.round}/{self.started}"


@dataclass(frozen=True, kw_only=True)
class AttemptStarted(Event):
    """`model` is the model's id; `source` says whether it is live, recorded or scripted."""

    model: str
    agent: str
    source: str = "live"
    tier: str = ""


@dataclass(frozen=True, kw_only=True)
class AttemptResumed(Event):
    """An attempt went on after a crash from `turns` whole turns."""

    repeats: ClassVar[bool] = True
    turns: int


@dataclass(frozen=True, kw_only=True)
class ModelCalled(Event):
    """One model call that answered. Unknown usage or cost is None, never zero. `again`: above 1
    when other machines had worked on the attempt before, whose calls are others."""

    turn: int
    model: str
    usage: Usage | None
    cost_usd: float | None
    seconds: float = 0.0
    again: int = 0

    @property
    def part(self) -> str:
        return f"{self.turn}#{self.again}" if self.again > 1 else str(self.turn)


@dataclass(frozen=True, kw_only=True)
class ModelRetried(Event):
    """A model call failed and will be made again after `wait` seconds."""

    repeats: ClassVar[bool] = True
    error: str
    wait: float


@dataclass(frozen=True, kw_only=True)
class AttemptFinished(Event):
    """The agent's part is over; `ending` as in `AttemptResult`."""

    ending: str
    reason: str
    turns: int
    seconds: float
    cost_usd: float | None
    patch: bool


@dataclass(frozen=True, kw_only=True)
class AttemptCancelled(Event):
    reason: str


@dataclass(frozen=True, kw_only=True)
class VerificationStarted(Event):
    pass


@dataclass(frozen=True, kw_only=True)
class VerificationFinished(Event):
    """`passed`: usable and every trusted check green; `problems` in words."""

    usable: bool
    passed: bool
    checks_passed: int
    checks: int
    coverage: float | None
    quality: float | None
    seconds: float | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AttemptSelected(Event):
    """The choice of a round. `attempt` is the winner, None when nobody can be taken. `among`:
    those that had finished by then; empty in the runs of older versions."""

    round: int
    score: float | None
    consensus: float | None
    confidence: float | None
    needs_review: bool
    reasons: tuple[str, ...]
    among: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        return str(self.round)


@dataclass(frozen=True, kw_only=True)
class ReviewRequested(Event):
    """`since`: the run that made the attempt, where it was not this one."""

    reasons: tuple[str, ...]
    since: str = ""


@dataclass(frozen=True, kw_only=True)
class ReviewResolved(Event):
    """A person accepted an attempt."""

    by: str


@dataclass(frozen=True, kw_only=True)
class MergeStarted(Event):
    onto: str

    @property
    def part(self) -> str:
        return self.onto


@dataclass(frozen=True, kw_only=True)
class MergeFinished(Event):
    """`commit` is on the integration branch."""

    commit: str


@dataclass(frozen=True, kw_only=True)
class MergeRejected(Event):
    """The branch was left as it was: a conflict, or a merged tree that is red."""

    onto: str
    reason: str

    @property
    def part(self) -> str:
        return self.onto


@dataclass(frozen=True, kw_only=True)
class FeatureMerged(Event):
    commit: str
    reasons: tuple[str, ...] = ()


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
