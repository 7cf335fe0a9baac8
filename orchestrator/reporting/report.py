"""The report of a run: what was merged and why, what was not and why, what to type next."""

import shlex
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.learn import report as pattern_report
from orchestrator.learn.report import PatternReport
from orchestrator.reporting.wording import (
    asked_a_model,
    command,
    counted,
    duration,
    lost,
    markdown,
    model_source,
    money,
    one_line,
    unisolated,
)
from orchestrator.runs.state import OVER, AttemptState, FeatureState, RunState
from orchestrator.values import Usage

Outcome = Literal["merged", "failed", "blocked", "review", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("merged", "failed", "review", "blocked", "skipped")

#: A command that was cut short could not be typed: room for three paths of the longest kind.
_COMMAND = 3 * 4096


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """One attempt: `why` says in a line why it won, lost or ended. Costs in USD; `cost_usd`
    None is unknown. `coverage` and `quality` are 0..1, None when not measured."""

    name: str
    state: str
    why: str
    ending: str | None
    turns: int
    seconds: float | None
    cost_usd: float | None
    checks_passed: int
    checks: int
    coverage: float | None
    quality: float | None
    problems: tuple[str, ...]
    model: str
    source: str


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """One feature: `attempt` is the one merged, or the one to look at first in a review, made by
    `review_run` where that is another run."""

    id: str
    state: Outcome
    attempt: str | None
    commit: str | None
    reasons: tuple[str, ...]
    rounds: int
    seconds: float | None
    cost_usd: float | None
    score: float | None
    consensus: float | None
    confidence: float | None
    review_run: str
    accepted_by: str
    refusals: tuple[str, ...]
    spared: tuple[str, ...]
    attempts: tuple[AttemptReport, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A run. `cost_usd` is what is known of its cost, all of it when `cost_complete`;
    `lost_calls` may have been charged beside it, with `lost_usd` at most (None: not known).

    `next` are (command, what it is for). `note` says so when no model was asked.
    """

    run: str
    workspace: str
    repo: str
    branch: str
    cost_usd: float
    cost_complete: bool
    lost_calls: int
    lost_usd: float | None
    budget_usd: float | None
    seconds: float
    exit_code: int | None
    stopped: str | None
    model: str
    note: str
    sandbox: str
    usage: Usage
    calls: int
    limits: tuple[str, ...]
    warnings: tuple[str, ...]
    anomalies: tuple[str, ...]
    next: tuple[tuple[str, str], ...]
    features: tuple[FeatureReport, ...]
    patterns: tuple[PatternReport, ...] = ()
    judged: tuple[str, ...] = ()


def build(run: RunState) -> Report:
    """The report of a run as it stands: over, stopped, or killed."""
    features = tuple(_feature(run, feature) for feature in run.features.values())
    end = run.finished if run.finished is not None else run.latest
    notes = [] if asked_a_model(run) else [f"model: {model_source(run)}"]
    notes += [unisolated(run)] if unisolated(run) else []
    return Report(
        run=run.run,
        workspace=run.workspace,
        repo=run.repo,
        branch=run.branch,
        cost_usd=run.cost_usd,
        cost_complete=not run.unknown_cost,
        lost_calls=run.lost_calls,
        lost_usd=run.lost_usd,
        budget_usd=run.budget_usd,
        seconds=round(max(0.0, (end or 0.0) - (run.started or 0.0)), 3),
        exit_code=run.exit_code,
        stopped=run.stopped,
        model=model_source(run),
        note="; ".join(notes),
        sandbox=run.sandbox,
        usage=run.usage,
        calls=run.calls,
        limits=run.limits,
        warnings=run.warnings,
        anomalies=run.anomalies,
        next=tuple(_next(run, features)),
        features=features,
        patterns=pattern_report.build(run),
        judged=run.judged,
    )


def to_json(report: Report) -> dict[str, Any]:
    """The object of `report.json`. The cost of a feature or an attempt that is not wholly known
    is null; the run's says how much of it is known."""
    body = asdict(report)
    body["next"] = [{"command": typed, "for": purpose} for typed, purpose in report.next]
    return body


def counts(report: Report) -> dict[str, int]:
    """How many features ended how, in the order of `OUTCOMES`; none that are zero."""
    found = Counter(feature.state for feature in report.features)
    return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}


def summary(report: Report) -> tuple[str, ...]:
    """The end of the run in a few plain lines for a terminal."""
    # What a stop left undone was not skipped by anybody's wish.
    said = {"skipped": "not finished"} if report.stopped else {}
    found = counts(report).items()
    states = ", ".join(f"{n} {said.get(state, state)}" for state, n in found) or "no features"
    cost = money(report.cost_usd, not report.cost_complete)
    lines = [f"{states} in {duration(report.seconds)} for {cost}"]
    lines += [lost(report.lost_calls, report.lost_usd)] if report.lost_calls else []
    lines += report.note.split("; ") if report.note else []
    lines += [f"stopped: {one_line(report.stopped)}"] if report.stopped else []
    lines += [
        f"{feature.state} {feature.id}: {one_line('; '.join(feature.reasons) or 'no reason given')}"
        for feature in report.features
        if feature.state in {"failed", "review"}
    ]
    lines += [f"warning: {one_line(warning)}" for warning in report.warnings]
    details = command(report.workspace, "report")
    next_ = (*report.next, (details, "every attempt, and why it was taken or not"))
    return (*lines, "next:", *(f"  {typed}  # {purpose}" for typed, purpose in next_))


def to_markdown(report: Report) -> str:
    """`report.md`, for people. Text that agents wrote is shown as text, never as Markdown."""
    lines = [f"# Run {markdown(report.run)}", ""]
    lines += [f"> **{markdown(report.note)}**", ""] if report.note else []
    lines += _facts(report)
    for outcome in OUTCOMES:
        chosen = [feature for feature in report.features if feature.state == outcome]
        if chosen:
            lines += ["", f"## {outcome.capitalize()} ({len(chosen)})"]
        for feature in chosen:
            lines += _section(feature)
    lines += pattern_report.lines(report.patterns, report.judged)
    for title, texts in (("Limits", report.limits), ("Warnings", report.warnings)):
        if texts:
            lines += ["", f"## {title}", "", *(f"- {markdown(text)}" for text in texts)]
    if report.anomalies:
        lines += ["", "## Events that do not fit together", ""]
        lines += [f"- {markdown(text)}" for text in report.anomalies]
    if report.next:
        lines += ["", "## Next", "", "```sh"]
        lines += [f"{typed}  # {purpose}" for typed, purpose in report.next]
        lines += ["```"]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------ building


def _feature(run: RunState, feature: FeatureState) -> FeatureReport:
    state, reasons = _outcome(run, feature)
    attempt = feature.winner if state in {"merged", "review"} else None
    if state == "review" and attempt is None:
        attempt = _best(feature)
    return FeatureReport(
        id=feature.id,
        state=state,
        attempt=attempt,
        commit=feature.commit if state == "merged" else None,
        reasons=reasons,
        rounds=feature.round,
        seconds=feature.seconds,
        cost_usd=_cost(feature.cost_usd, feature.unknown_cost),
        score=feature.score,
        consensus=feature.consensus,
        confidence=feature.confidence,
        review_run=feature.review_run,
        accepted_by=feature.accepted_by,
        refusals=feature.refusals,
        spared=feature.spared,
        attempts=tuple(_attempt(feature, a) for a in feature.attempts.values()),
    )


def _outcome(run: RunState, feature: FeatureState) -> tuple[Outcome, tuple[str, ...]]:
    """A feature that the run did not bring to an end is skipped, with what prevented it."""
    if feature.state in OVER:
        # mypy cannot narrow a Literal by a set.
        return feature.state, feature.reasons  # type: ignore[return-value]
    why = run.stopped or run.draining or "; ".join(run.limits) or "the run did not come to its end"
    prefix = "not started" if feature.state == "waiting" else "not finished"
    return "skipped", (f"{prefix}: {why}",)


def _best(feature: FeatureState) -> str | None:
    """What a person looks at first when nothing could be chosen: usable, most checks passed."""
    usable = [a for a in feature.attempts.values() if a.usable]
    best = max(usable, key=lambda a: (a.checks_passed, a.quality or 0.0), default=None)
    return best.name if best is not None else None


def _attempt(feature: FeatureState, attempt: AttemptState) -> AttemptReport:
    return AttemptReport(
        name=attempt.name,
        state=attempt.state,
        why=_why(feature, attempt),
        ending=attempt.ending,
        turns=attempt.turns,
        seconds=attempt.seconds,
        cost_usd=_cost(attempt.cost_usd, attempt.unknown_cost),
        checks_passed=attempt.checks_passed,
        checks=attempt.checks,
        coverage=attempt.coverage,
        quality=attempt.quality,
        problems=attempt.problems,
        model=attempt.model,
        source=attempt.source,
    )


def _why(feature: FeatureState, attempt: AttemptState) -> str:
    if attempt.name == feature.winner:
        chosen = "; ".join(feature.selection) or "the one that could be taken"
        return f"accepted by {feature.accepted_by}" if feature.accepted_by else chosen
    if attempt.state == "passed":
        return f"passed too; {feature.winner} ranked above it" if feature.winner else "passed"
    if attempt.state == "unjudged":
        return "usable, but no trusted check exists to judge it"
    if attempt.state == "rejected":
        return rejection(attempt.problems, attempt.checks_passed, attempt.checks)
    if attempt.state == "failed":
        return f"nothing to verify: {attempt.reason or attempt.ending or 'no patch'}"
    return attempt.reason or attempt.state


def rejection(problems: tuple[str, ...], passed: int, checks: int) -> str:
    """Why verification turned an attempt down, in a line: the score, then the first problem."""
    score = f"acceptance {passed}/{checks}" if checks else ""
    return ": ".join(p for p in (score, problems[0] if problems else "") if p) or "not usable"


def _next(run: RunState, features: tuple[FeatureReport, ...]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    logs = f"{run.workspace}/logs" if run.workspace else "logs"
    if any(feature.state == "merged" for feature in features):
        log = shlex.join(["git", "-C", run.repo, "log", "--oneline", run.branch])
        found.append((one_line(log, _COMMAND), "what was merged"))
    for feature in features:
        if feature.state == "review" and feature.attempt is not None:
            of = f"{feature.review_run or run.run}/{feature.id}/{feature.attempt}"
            patch = shlex.join(["less", f"{logs}/{of}/patch.diff"])
            found.append((one_line(patch, _COMMAND), f"what {feature.attempt} would change"))
            accept = command(run.workspace, "accept", feature.id, feature.attempt)
            found.append((accept, "take this attempt; `fibreflow reject` turns it down"))
    if run.finished is None and any(f.state == "skipped" for f in features):
        resume = command(run.workspace, "resume")
        found.append((resume, "go on where this run was stopped"))
    if any(feature.state == "failed" for feature in features):
        look = one_line(shlex.join(["ls", f"{logs}/{run.run}"]), _COMMAND)
        found.append((look, "transcripts and logs of every attempt"))
    return found


def _cost(known: float, unknown: bool) -> float | None:
    return None if unknown else known


# ------------------------------------------------------------------------------------ Markdown


def _facts(report: Report) -> list[str]:
    states = ", ".join(f"{n} {state}" for state, n in counts(report).items()) or "no features"
    cost = money(report.cost_usd, not report.cost_complete)
    cap = f" of {money(report.budget_usd)}" if report.budget_usd is not None else ""
    facts = [
        ("Result", states),
        ("Repository", f"{report.repo}, branch {report.branch}"),
        ("Model", report.model),
        ("Sandbox", report.sandbox),
        ("Cost", f"{cost}{cap} ({counted(report.calls, 'call')}, {report.usage.total} tokens)"),
        ("Time", duration(report.seconds)),
    ]
    if report.lost_calls:
        facts.insert(-1, ("Unknown cost", lost(report.lost_calls, report.lost_usd)))
    if report.stopped:
        facts.append(("Stopped", report.stopped))
    return [f"- {name}: {markdown(value)}" for name, value in facts]


def _section(feature: FeatureReport) -> list[str]:
    lines = ["", f"### {markdown(feature.id)}", ""]
    if feature.attempt:
        verb = "from" if feature.state == "merged" else "look first at"
        commit = f", commit {feature.commit[:12]}" if feature.commit else ""
        lines.append(f"- {verb} attempt {markdown(feature.attempt)}{commit}")
    if feature.accepted_by:
        lines.append(f"- accepted by {markdown(feature.accepted_by)}")
    lines += [f"- {markdown(reason)}" for reason in feature.reasons]
    lines += [f"- merge refused, {markdown(refusal)}" for refusal in feature.refusals]
    lines += [f"- {markdown(text)}" for text in feature.spared]
    if feature.attempts:
        rounds = counted(feature.rounds, "round")
        lines += ["", f"{counted(len(feature.attempts), 'attempt')} in {rounds}:", ""]
        lines += ["| attempt | result | checks | coverage | quality | cost | time | why |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [_row(attempt) for attempt in feature.attempts]
    return lines


def _row(attempt: AttemptReport) -> str:
    cells = (
        attempt.name,
        attempt.state,
        f"{attempt.checks_passed}/{attempt.checks}" if attempt.checks else "",
        "" if attempt.coverage is None else f"{attempt.coverage:.0%}",
        "" if attempt.quality is None else f"{attempt.quality:.2f}",
        "unknown" if attempt.cost_usd is None else money(attempt.cost_usd),
        duration(attempt.seconds),
        attempt.why,
    )
    return "| " + " | ".join(markdown(cell) for cell in cells) + " |"
