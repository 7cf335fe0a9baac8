"""What held work up: limits of rate and of money, and data that was not fresh. See
`orchestrator.events`, where all events are.
"""

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.events.occurrence import Event


@dataclass(frozen=True, kw_only=True)
class LimitChanged(Event):
    """How many calls to a model may be in flight; `pause`: seconds during which none begins,
    `until` (ISO 8601, UTC) when they end."""

    repeats: ClassVar[bool] = True
    model: str
    limit: int
    why: str
    pause: float = 0.0
    until: str = ""


@dataclass(frozen=True, kw_only=True)
class BudgetLow(Event):
    """Four fifths of a cap are used. `scope`: such as `run ID`; `reserved_usd`: for calls in flight
    and for calls of unknown cost."""

    scope: str
    cap_usd: float
    spent_usd: float
    reserved_usd: float

    @property
    def part(self) -> str:
        return self.scope


@dataclass(frozen=True, kw_only=True)
class CallLost(Event):
    """A call that may have been charged, and nobody will tell what: its reply was cut off, or its
    asker was cancelled or killed. `reserved_usd` is the most that it can have cost, None where
    the price is unknown; `entry` tells it from others in the book of money."""

    entry: int
    reserved_usd: float | None

    @property
    def part(self) -> str:
        return str(self.entry)


@dataclass(frozen=True, kw_only=True)
class LimitHit(Event):
    """A budget or quota stopped new work."""

    repeats: ClassVar[bool] = True
    what: str


@dataclass(frozen=True, kw_only=True)
class DataHeld(Event):
    """Work waits until the data it needs is fresh; without a feature, the whole run does."""

    repeats: ClassVar[bool] = True
    slas: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class DataReleased(Event):
    """A hold is over after so many seconds: fresh again, or overridden."""

    repeats: ClassVar[bool] = True
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DataOverridden(Event):
    """A person let work begin on stale data. `what` was not fresh."""

    repeats: ClassVar[bool] = True
    slas: tuple[str, ...]
    by: str
    reason: str
    what: str


@dataclass(frozen=True, kw_only=True)
class DataRefused(Event):
    """Work was not begun, because the data it needs is not fresh."""

    repeats: ClassVar[bool] = True
    slas: tuple[str, ...]
    reason: str
