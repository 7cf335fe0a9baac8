"""Events of a feature's course and of a person's hand on it: begun, ended, skipped, queued again.

`again` counts how often a person had the feature worked on again; each time it has its events anew.
"""

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.events.occurrence import Event


class _OnceAgain:
    """May happen to a feature again each time that it is requeued: `again` counts these."""

    again: int

    @property
    def part(self) -> str:
        return str(self.again or "")


@dataclass(frozen=True, kw_only=True)
class FeatureStarted(_OnceAgain, Event):
    again: int = 0


@dataclass(frozen=True, kw_only=True)
class FeatureFailed(_OnceAgain, Event):
    reason: str
    again: int = 0


@dataclass(frozen=True, kw_only=True)
class FeatureBlocked(_OnceAgain, Event):
    """A dependency failed, waits for a person, or was skipped. `on` names it."""

    on: str
    again: int = 0


@dataclass(frozen=True, kw_only=True)
class FeatureSkipped(_OnceAgain, Event):
    """A person took the feature out of the run."""

    reason: str
    again: int = 0


@dataclass(frozen=True, kw_only=True)
class FeatureRequeued(_OnceAgain, Event):
    """A person has a feature that had ended worked on again, from a further round on."""

    by: str
    again: int


@dataclass(frozen=True, kw_only=True)
class ControlTaken(Event):
    """A run took a person's request. `request` names it, so that it is taken once; `kind` and the
    numbers are those of `orchestrator.runs.controls.Control`; `answer` is what the person hears."""

    request: str
    kind: str
    by: str
    again: int = 0
    answer: str = ""
    attempts: int | None = None
    workers: int | None = None
    budget_usd: float | None = None

    @property
    def part(self) -> str:
        return self.request


@dataclass(frozen=True, kw_only=True)
class HoursKept(Event):
    """The run's hours let nothing begin, and `reason` says so; empty: work may begin."""

    repeats: ClassVar[bool] = True
    reason: str


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
