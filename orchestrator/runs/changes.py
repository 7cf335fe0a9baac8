"""What each event changes in the state of a run: one function per event."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from orchestrator import events as e
from orchestrator.cost import total
from orchestrator.runs.course import (
    KEPT,
    NO_USAGE,
    NOTHING,
    Asked,
    AttemptState,
    FeatureState,
    RunState,
)
from orchestrator.runs.transitions import FeaturePhase


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
        stopped=None,
        exit_code=None,
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


def _planning(run: RunState, event: e.PlanStarted) -> RunState:
    return replace(
        run,
        run=event.run,
        repo=event.repo,
        branch=event.branch,
        workspace=event.workspace,
        model=event.model,
        pid=event.pid,
        started=run.latest,
    )


def _planned(run: RunState, event: e.DocumentWritten) -> RunState:
    """What planning cost is part of the run's price."""
    return replace(
        run,
        calls=run.calls + 1,
        usage=run.usage + (event.usage or NO_USAGE),
        cost_usd=run.cost_usd + (event.cost_usd or 0.0),
        unknown_cost=run.unknown_cost or event.cost_usd is None,
    )


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
    if isinstance(event, e.CallLost):
        return replace(
            run,
            lost_calls=run.lost_calls + 1,
            lost_usd=total((run.lost_usd, event.reserved_usd)),
            unknown_cost=True,
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


def _decided(feature: FeatureState, event: e.RoundDecided) -> FeatureState:
    text = f"round {event.round} was over with {event.spared} of its attempts to spare"
    return replace(feature, spared=(*feature.spared, f"{text}: {event.why}"))


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


def _controlled(run: RunState, event: e.ControlTaken) -> RunState:
    if event.kind in {"pause", "resume"}:
        return replace(run, paused=event.by if event.kind == "pause" else None)
    if event.feature is not None:
        asked = Asked(event.kind, event.by, event.again)
        return replace(run, asked=MappingProxyType({**run.asked, event.feature: asked}))
    usd = event.budget_usd
    return replace(
        run,
        attempts=run.attempts if event.attempts is None else event.attempts,
        workers=run.workers if event.workers is None else event.workers,
        retuned_usd=run.retuned_usd if usd is None else usd,
        budget_usd=run.budget_usd if usd is None else usd,
    )


RUN_CHANGES: Mapping[type[e.Event], Callable[[RunState, Any], RunState]] = {
    e.RunStarted: _run_started,
    e.RunResumed: _run_resumed,
    e.RunFinished: _run_finished,
    e.RunStopped: _run_stopped,
    e.DrainRequested: lambda run, event: replace(run, draining=event.reason),
    e.ControlTaken: _controlled,
    e.HoursKept: lambda run, event: replace(run, held=event.reason or None),
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
    e.PlanStarted: _planning,
    e.DocumentWritten: _planned,
    e.PlanReviewed: lambda run, _event: run,
    e.PlanFinished: lambda run, _event: run,
    e.PatternLearned: _learned,
    e.PatternJudged: _judged,
}

ATTEMPT_CHANGES: Mapping[type[e.Event], Callable[[AttemptState, Any], AttemptState]] = {
    e.AttemptStarted: _started,
    e.AttemptResumed: lambda attempt, _event: replace(attempt, resumed=attempt.resumed + 1),
    e.ModelCalled: _called,
    e.CallLost: lambda attempt, _event: replace(attempt, unknown_cost=True),
    e.ModelRetried: lambda attempt, _event: replace(attempt, retries=attempt.retries + 1),
    e.AttemptFinished: _worked,
    e.AttemptCancelled: lambda attempt, event: replace(attempt, reason=event.reason),
    e.VerificationFinished: _verified,
    e.FailureSigned: lambda attempt, event: replace(
        attempt, signatures=(*attempt.signatures, event.signature)
    ),
    e.PatternUsed: _told,
    e.ReflectionFinished: _asked_about,
    e.RepairStarted: lambda attempt, _event: attempt,
}

FEATURE_CHANGES: Mapping[type[e.Event], Callable[[FeatureState, Any], FeatureState]] = {
    e.RoundStarted: _round,
    e.RoundDecided: _decided,
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
    e.FeatureSkipped: lambda feature, event: replace(feature, reasons=(event.reason,)),
    e.FeatureRequeued: lambda feature, event: replace(
        feature, again=event.again, reasons=(), blocked_on=None, winner=None, accepted_by=""
    ),
    e.FeatureBlocked: lambda feature, event: replace(
        feature, blocked_on=event.on, reasons=(f"depends on {event.on}",)
    ),
}


def more(texts: tuple[str, ...], text: str) -> tuple[str, ...]:
    return texts if len(texts) >= KEPT or text in texts else (*texts, text)
