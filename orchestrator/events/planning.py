"""What happened while a goal was planned: see `orchestrator.events`, where all events are."""

from dataclasses import dataclass

from orchestrator.events.occurrence import Event
from orchestrator.values import Usage


@dataclass(frozen=True, kw_only=True)
class PlanStarted(Event):
    """`model` is the source of the answers: live, recorded or scripted."""

    goal: str
    model: str
    repo: str = ""
    branch: str = ""
    workspace: str = ""
    pid: int = 0


@dataclass(frozen=True, kw_only=True)
class DocumentWritten(Event):
    """A role answered. `problems`: why the document was sent back, none when it stands. Unknown
    usage or cost is None, never zero."""

    role: str
    document: str
    version: int
    model: str
    source: str
    usage: Usage | None
    cost_usd: float | None
    problems: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def part(self) -> str:
        return f"{self.document} v{self.version}"


@dataclass(frozen=True, kw_only=True)
class PlanReviewed(Event):
    """A person was asked about the plan, or has answered. `verdict`: pending, approved, rejected
    or expired."""

    request: str
    verdict: str
    by: str = ""
    reason: str = ""

    @property
    def part(self) -> str:
        return f"{self.request} {self.verdict}"


@dataclass(frozen=True, kw_only=True)
class PlanFinished(Event):
    """The feature list is written, and its acceptance tests are on the branch."""

    features: tuple[str, ...]
    commit: str
    path: str
