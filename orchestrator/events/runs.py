"""Events of a run as a whole: its process, its base, its sandboxes, and what it warned of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.events.occurrence import Event


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
