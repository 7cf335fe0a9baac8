"""What each event changes: the values a run's state is made of, and one function per event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from orchestrator import events as e
from orchestrator.transitions import AttemptPhase, FeaturePhase
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
    signatures: tuple[str, ...] = ()  # how it failed: keys of `orchestrator.signatures`
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
    blocked_on: str | None = None
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
    usage: Usage = NO_USAGE
    calls: int = 0
    retries: int = 0
    sources: tuple[str, ...] = ()  # live, recorded, scripted: what attempts said they used
    models: tuple[str, ...] = ()  # ids of the models they asked, or would have
    draining: str | None = None
    limits: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=lambda: NOTHING)  # id -> title
    learned: tuple[str, ...] = ()  # ids of the patterns that this run was the first to meet
    judged: tuple[str, ...] = ()  # verdicts on patterns, in words


def _run_started(run: RunState, event: e.RunStarted) -> RunState:
    features = {i: _listed(i, facts, event) for i, facts in event.features.items()}
    return replace(
        run,
        run=event.run,
        repo=event.repo,
        branch=event.branch,
        base=event.base,
        workspace=event.workspace,
        model=event.model,
        sandbox=event.sandbox,
        budget_usd=event.budget_usd,
        pid=event.pid,
        rounds=event.rounds,
        started=run.latest,
        features=MappingProxyType(features),
    )


def _listed(i: str, facts: Any, event: e.RunStarted) -> FeatureState:
    told: Mapping[str, Any] = facts if isinstance(facts, Mapping) else NOTHING
    state: FeaturePhase = "waiting"
    reasons: tuple[str, ...] = ()
    if i in event.integrated:
        state, reasons = "merged", ("already on the branch",)
    elif i in event.skipped:
        state, reasons = "skipped", ("not asked for in this run",)
    return FeatureState(
        i,
        depends_on=tuple(told.get("depends_on", ())),
        state=state,
        rounds=event.rounds,
        wanted=int(told.get("attempts") or 0),
        reasons=reasons,
    )


def _run_resumed(run: RunState, event: e.RunResumed) -> RunState:
    return replace(
        run,
        pid=event.pid,
        resumed=run.resumed + 1,
        finished=None,
        exit_code=None,
        stopped=None,
        draining=None,
    )


def _run_finished(run: RunState, event: e.RunFinished) -> RunState:
    # Said again when a person accepts an attempt: its time is not the run's.
    finished = run.latest if run.finished is None else run.finished
    return replace(run, finished=finished, exit_code=event.exit_code, stopped=None)


def _run_stopped(run: RunState, event: e.RunStopped) -> RunState:
    return replace(run, stopped=event.reason or "stopped", exit_code=event.exit_code)


def _warned(run: RunState, event: e.WarningGiven) -> RunState:
    return replace(run, warnings=more(run.warnings, event.message))


def _limited(run: RunState, event: e.LimitHit) -> RunState:
    new = () if event.what in run.limits else (event.what,)
    return replace(run, limits=(*run.limits, *new))


def _about_data(run: RunState, event: e.Event, what: str) -> RunState:
    subject = event.feature or "the run"
    return replace(run, warnings=more(run.warnings, f"data: {subject} {what}"))


def _learned(run: RunState, event: e.PatternLearned) -> RunState:
    return replace(
        run,
        patterns={**run.patterns, event.pattern: event.title},
        learned=(*run.learned, event.pattern),
    )


def _judged(run: RunState, event: e.PatternJudged) -> RunState:
    text = f"{event.status}: {event.title} ({event.why})"
    return replace(run, judged=more(run.judged, text))


def counted(run: RunState, event: e.Event) -> RunState:
    """What the run as a whole counts of an attempt's event."""
    if isinstance(event, e.PatternUsed):
        known = event.pattern in run.patterns
        return run if known else replace(run, patterns={**run.patterns, event.pattern: event.title})
    if isinstance(event, e.ModelCalled | e.ReflectionFinished):
        return replace(
            run,
            calls=run.calls + 1,
            usage=run.usage + (event.usage or NO_USAGE),
            cost_usd=run.cost_usd + (event.cost_usd or 0.0),
            unknown_cost=run.unknown_cost or event.cost_usd is None,
        )
    if isinstance(event, e.ModelRetried):
        return replace(run, retries=run.retries + 1)
    if isinstance(event, e.AttemptStarted):
        known = event.source in run.sources and event.model in run.models
        return run if known else _asked(run, event)
    return run


def _asked(run: RunState, event: e.AttemptStarted) -> RunState:
    return replace(
        run, sources=more(run.sources, event.source), models=more(run.models, event.model)
    )


def _started(attempt: AttemptState, event: e.AttemptStarted) -> AttemptState:
    return replace(attempt, model=event.model, agent=event.agent, source=event.source)


def _called(attempt: AttemptState, event: e.ModelCalled) -> AttemptState:
    return replace(_asked_about(attempt, event), turns=max(attempt.turns, event.turn))


def _asked_about(
    attempt: AttemptState, event: e.ModelCalled | e.ReflectionFinished
) -> AttemptState:
    """What was asked about an attempt is part of its price, and no turn of its own."""
    return replace(
        attempt,
        calls=attempt.calls + 1,
        usage=attempt.usage + (event.usage or NO_USAGE),
        cost_usd=attempt.cost_usd + (event.cost_usd or 0.0),
        unknown_cost=attempt.unknown_cost or event.cost_usd is None,
    )


def _told(attempt: AttemptState, event: e.PatternUsed) -> AttemptState:
    if not event.compared:
        return attempt
    return replace(attempt, patterns={**attempt.patterns, event.pattern: event.shown})


def _worked(attempt: AttemptState, event: e.AttemptFinished) -> AttemptState:
    """The total at the end may know more than the calls did (an agent metered elsewhere), or
    less (the count began anew after a crash): the larger of the two was spent for certain."""
    return replace(
        attempt,
        ending=event.ending,
        reason=event.reason,
        turns=max(attempt.turns, event.turns),
        seconds=event.seconds,
        cost_usd=max(attempt.cost_usd, event.cost_usd or 0.0),
        unknown_cost=attempt.unknown_cost or event.cost_usd is None,
    )


def _verified(attempt: AttemptState, event: e.VerificationFinished) -> AttemptState:
    return replace(
        attempt,
        usable=event.usable,
        checks_passed=event.checks_passed,
        checks=event.checks,
        problems=event.problems,
        coverage=event.coverage,
        quality=event.quality,
    )


def _round(feature: FeatureState, event: e.RoundStarted) -> FeatureState:
    return replace(
        feature, round=event.round, wanted=event.attempts, why=event.why, winner=None, selection=()
    )


def _selected(feature: FeatureState, event: e.AttemptSelected) -> FeatureState:
    return replace(
        feature,
        winner=event.attempt,
        score=event.score,
        consensus=event.consensus,
        confidence=event.confidence,
        selection=event.reasons,
    )


def _refused(feature: FeatureState, event: e.MergeRejected) -> FeatureState:
    text = f"{event.attempt or feature.winner or 'winner'}: {event.reason}"
    return replace(feature, refusals=(*feature.refusals, text))


def _merged(feature: FeatureState, event: e.FeatureMerged) -> FeatureState:
    return replace(
        feature,
        commit=event.commit,
        winner=event.attempt or feature.winner,
        reasons=event.reasons or feature.selection,
        blocked_on=None,
    )


RUN_CHANGES: Mapping[type[e.Event], Callable[[RunState, Any], RunState]] = {
    e.RunStarted: _run_started,
    e.RunResumed: _run_resumed,
    e.RunFinished: _run_finished,
    e.RunStopped: _run_stopped,
    e.DrainRequested: lambda run, event: replace(run, draining=event.reason),
    e.LimitHit: _limited,
    e.WarningGiven: _warned,
    e.DataHeld: lambda run, event: _about_data(run, event, f"held: {event.reason}"),
    e.DataReleased: lambda run, event: _about_data(
        run, event, f"went on after {event.seconds:.0f} s of waiting"
    ),
    e.DataOverridden: lambda run, event: _about_data(
        run, event, f"{event.by} overrode the gate: {event.reason} ({event.what})"
    ),
    e.DataRefused: lambda run, event: _about_data(run, event, f"refused: {event.reason}"),
    e.BasePrepared: lambda run, _event: run,
    e.LimitChanged: lambda run, _event: run,
    e.BudgetLow: lambda run, _event: run,
    e.SandboxUsed: lambda run, event: replace(
        run,
        cost_usd=run.cost_usd + (event.cost_usd or 0.0),
        unknown_cost=run.unknown_cost or event.cost_usd is None,
    ),
    e.ConnectionAsked: lambda run, _event: run,
    e.PatternLearned: _learned,
    e.PatternJudged: _judged,
}

ATTEMPT_CHANGES: Mapping[type[e.Event], Callable[[AttemptState, Any], AttemptState]] = {
    e.AttemptStarted: _started,
    e.AttemptResumed: lambda attempt, _event: replace(attempt, resumed=attempt.resumed + 1),
    e.ModelCalled: _called,
    e.ModelRetried: lambda attempt, _event: replace(attempt, retries=attempt.retries + 1),
    e.AttemptFinished: _worked,
    e.AttemptCancelled: lambda attempt, event: replace(attempt, reason=event.reason),
    e.VerificationFinished: _verified,
    e.FailureSigned: lambda attempt, event: replace(
        attempt, signatures=(*attempt.signatures, event.signature)
    ),
    e.PatternUsed: _told,
    e.ReflectionFinished: _asked_about,
}

FEATURE_CHANGES: Mapping[type[e.Event], Callable[[FeatureState, Any], FeatureState]] = {
    e.RoundStarted: _round,
    e.AttemptSelected: _selected,
    e.ReviewRequested: lambda feature, event: replace(
        feature,
        reasons=event.reasons,
        winner=event.attempt or feature.winner,
        review_run=event.since,
    ),
    e.ReviewResolved: lambda feature, event: replace(
        feature, winner=event.attempt, accepted_by=event.by, reasons=()
    ),
    e.MergeFinished: lambda feature, event: replace(feature, commit=event.commit),
    e.MergeRejected: _refused,
    e.FeatureMerged: _merged,
    e.FeatureFailed: lambda feature, event: replace(feature, reasons=(event.reason,)),
    e.FeatureBlocked: lambda feature, event: replace(
        feature, blocked_on=event.on, reasons=(f"depends on {event.on}",)
    ),
}


def more(texts: tuple[str, ...], text: str) -> tuple[str, ...]:
    return texts if len(texts) >= KEPT or text in texts else (*texts, text)
