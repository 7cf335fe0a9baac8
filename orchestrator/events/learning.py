"""What happened to what is known of failures: see `orchestrator.events`, where all events are."""

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.events.occurrence import Event
from orchestrator.values import Usage


@dataclass(frozen=True, kw_only=True)
class FailureSigned(Event):
    """How an attempt failed, as `learn.signatures` names it: `signature` is its key."""

    signature: str
    kind: str
    error: str = ""
    where: str = ""
    message: str = ""
    test: str = ""

    @property
    def part(self) -> str:
        return self.signature


@dataclass(frozen=True, kw_only=True)
class PatternLearned(Event):
    """A failure that was not known before became a pattern. `by`: rules, or a model."""

    pattern: str
    title: str
    by: str

    @property
    def part(self) -> str:
        return self.pattern


@dataclass(frozen=True, kw_only=True)
class PatternUsed(Event):
    """A pattern that applies to an attempt: `shown` to it, or withheld to measure what it is
    worth. `why` it applies: same failure, same scope, similar words. Not `compared` where the
    round was too small to withhold it from anyone."""

    pattern: str
    title: str
    shown: bool
    why: str
    compared: bool = True

    @property
    def part(self) -> str:
        return self.pattern


@dataclass(frozen=True, kw_only=True)
class PatternJudged(Event):
    """What the evidence of all runs made of a pattern: kept, retired or quarantined."""

    repeats: ClassVar[bool] = True
    pattern: str
    title: str
    status: str
    why: str


@dataclass(frozen=True, kw_only=True)
class RepairStarted(Event):
    """An attempt goes on in its sandbox with what its verification found, in its view."""

    number: int
    problems: tuple[str, ...]

    @property
    def part(self) -> str:
        return str(self.number)


@dataclass(frozen=True, kw_only=True)
class ReflectionFinished(Event):
    """A model was asked what a failure teaches. Unknown usage or cost is None, never zero.
    `said` is its answer as it came, for a recording."""

    pattern: str
    model: str
    usage: Usage | None
    cost_usd: float | None
    seconds: float = 0.0
    said: str = ""

    @property
    def part(self) -> str:
        return self.pattern
