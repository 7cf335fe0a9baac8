"""Events of a feature's course and of a person's hand on it: begun, ended, skipped, queued again.

`again` counts how often a person had the feature worked on again; each time it has its events anew.
"""

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.occurrence import Event


@dataclass(frozen=True, kw_only=True)
class FeatureStarted(Event):
    again: int = 0

    @property
    def part(self) -> str:
        return str(self.again or "")


@dataclass(frozen=True, kw_only=True)
class FeatureFailed(Event):
    reason: str
    again: int = 0

    @property
    def part(self) -> str:
        return str(self.again or "")


@dataclass(frozen=True, kw_only=True)
class FeatureBlocked(Event):
    """A dependency failed, waits for a person, or was skipped. `on` names it."""

    on: str
    again: int = 0

    @property
    def part(self) -> str:
        return str(self.again or "")


@dataclass(frozen=True, kw_only=True)
class FeatureSkipped(Event):
    """A person took the feature out of the run."""

    reason: str
    again: int = 0

    @property
    def part(self) -> str:
        return str(self.again or "")


@dataclass(frozen=True, kw_only=True)
class FeatureRequeued(Event):
    """A person has a feature that had ended worked on again, from a further round on."""

    by: str
    again: int

    @property
    def part(self) -> str:
        return str(self.again or "")


@dataclass(frozen=True, kw_only=True)
class ControlTaken(Event):
    """A run took a person's request. `request` names it, so that it is taken once; `kind` and the
    numbers are those of `orchestrator.controls.Control`; `answer` is what the person hears."""

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
