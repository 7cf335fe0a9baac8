"""The values that a run's state is made of: the run, its features, their attempts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from orchestrator.runs.transitions import AttemptPhase, FeaturePhase
from orchestrator.values import Usage

#: Warnings and anomalies are for people; a fault that repeats must not fill the memory.
KEPT = 200

NOTHING: Mapping[str, Any] = MappingProxyType({})
NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class AttemptState:
    """One attempt. `cost_usd` is what is known; `unknown_cost` says that there is more.

    Times are seconds since the epoch; `seconds` is the agent's wall time once it is over.
    `reason` says why it ended as it did, in the words of whatever ended it.
    """

    name: str
    state: AttemptPhase = "running"
    ending: str | None = None
    reason: str = ""
    model: str = ""
    agent: str = ""
    source: str = ""
    turns: int = 0
    calls: int = 0
    retries: int = 0
    resumed: int = 0
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    unknown_cost: bool = False
    seconds: float | None = None
    started: float | None = None
    usable: bool | None = None
    checks_passed: int = 0
    checks: int = 0
    problems: tuple[str, ...] = ()
    coverage: float | None = None
    quality: float | None = None
    signatures: tuple[str, ...] = ()  # how it failed: keys of `orchestrator.learn.signatures`
    patterns: Mapping[str, bool] = field(default_factory=lambda: NOTHING)  # compared ones -> shown


@dataclass(frozen=True, slots=True)
class FeatureState:
    """One feature. `reasons` say why its state is what it is, `selection` why its winner won.

    `attempts` has every attempt of every round by name, in the order they started.
    `wanted` is how many attempts the present round may have, `why` what made it necessary.
    """

    id: str
    depends_on: tuple[str, ...] = ()
    state: FeaturePhase = "waiting"
    round: int = 0
    rounds: int = 0
    wanted: int = 0
    why: str = ""
    attempts: Mapping[str, AttemptState] = field(default_factory=lambda: NOTHING)
    winner: str | None = None
    commit: str | None = None
    reasons: tuple[str, ...] = ()
    selection: tuple[str, ...] = ()
    score: float | None = None
    consensus: float | None = None
    confidence: float | None = None
    review_run: str = ""  # the run that made the attempt in review, where it was not this one
    accepted_by: str = ""
    refusals: tuple[str, ...] = ()  # merges that were refused, and why
    spared: tuple[str, ...] = ()  # rounds that were over before their most, and why
    blocked_on: str | None = None
    again: int = 0  # how often a person had it worked on again
    started: float | None = None
    finished: float | None = None
    cost_usd: float = 0.0
    unknown_cost: bool = False

    @property
    def seconds(self) -> float | None:
        if self.started is None or self.finished is None:
            return None
        return max(0.0, self.finished - self.started)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked last of a feature, when it had been queued again so often."""

    kind: str
    by: str
    again: int


@dataclass(frozen=True, slots=True)
class RunState:
    """A whole run. `finished` is when every feature had reached its end, `stopped` why a process
    left before that; both are None while one is at work, and after one was killed.

    `draining` is the reason why nothing new is started, None when work goes on. `limits` are
    the budgets and quotas that were hit; `anomalies` are events that cannot have happened.
    """

    run: str = ""
    repo: str = ""
    branch: str = ""
    base: str = ""
    workspace: str = ""  # absolute; empty where the run does not say
    model: str = ""
    sandbox: str = ""
    budget_usd: float | None = None
    pid: int = 0
    rounds: int = 0
    started: float | None = None
    finished: float | None = None
    latest: float | None = None  # time of the last event
    exit_code: int | None = None
    stopped: str | None = None
    resumed: int = 0
    features: Mapping[str, FeatureState] = field(default_factory=lambda: NOTHING)
    cost_usd: float = 0.0
    unknown_cost: bool = False
    lost_calls: int = 0  # which may have been charged beside `cost_usd`
    lost_usd: float | None = 0.0  # the most that they can have cost, None when not known
    usage: Usage = NO_USAGE
    calls: int = 0
    retries: int = 0
    sources: tuple[str, ...] = ()  # live, recorded, scripted: what attempts said they used
    models: tuple[str, ...] = ()  # ids of the models they asked, or would have
    draining: str | None = None
    paused: str | None = None  # by whom
    held: str | None = None  # why the run's hours let nothing begin
    attempts: int | None = None  # retuned: of rounds that open from now on
    workers: int | None = None  # retuned
    retuned_usd: float | None = None
    asked: Mapping[str, Asked] = field(default_factory=lambda: NOTHING)
    limits: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=lambda: NOTHING)  # id -> title
    learned: tuple[str, ...] = ()  # ids of the patterns that this run was the first to meet
    judged: tuple[str, ...] = ()  # verdicts on patterns, in words
