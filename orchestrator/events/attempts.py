"""Events of the attempts at a feature: their rounds, model calls, verification and choice."""

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.events.occurrence import Event
from orchestrator.values import Usage


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
class RoundDecided(Event):
    """The round is over after `started` attempts; `spared` of its most, those cancelled at work
    among them, are not played to their end."""

    round: int
    started: int
    spared: int
    why: str

    @property
    def part(self) -> str:
        return str(self.round)


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
