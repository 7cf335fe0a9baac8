"""One plain line per event that matters, for pipes, logs and terminals that cannot draw."""

from collections.abc import Callable, Mapping
from typing import Any, TextIO

from orchestrator import events as e
from orchestrator.errors import ModelUnreachableError
from orchestrator.reporting.report import rejection
from orchestrator.reporting.wording import (
    counted,
    duration,
    model_source,
    money,
    one_line,
    unisolated,
)
from orchestrator.runs.state import FeatureState, Fold, RunState

#: Shorter waits for the model are its daily life and not worth a line. Seconds.
LONG_WAIT = 5.0
#: Pauses of all attempts are worth one from here on. Seconds.
LONG_PAUSE = 30.0
#: A base that was ready sooner is not worth one either. Seconds.
LONG_BASE = 1.0

#: Everything the screen draws beyond ASCII; a stream that cannot take it gets ASCII only.
SYMBOLS = "●◐✓✗•→…·━"


class Speech:
    """Turns events into lines that `stream` can take."""

    def __init__(self, stream: TextIO) -> None:
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.ascii = not encodes(self._encoding, SYMBOLS)

    def event(self, event: e.Event, fold: Fold) -> tuple[str, ...]:
        """The lines for one event, after `fold` took it in; none for most kinds."""
        if isinstance(event, e.RunStarted):
            return tuple(f"{_clock(event)} {line}" for line in self._opening(fold.state) if line)
        if isinstance(event, e.RunResumed):
            said = (f"resumed by process {event.pid}", unisolated(fold.state))
            return tuple(f"{_clock(event)} {line}" for line in said if line)
        say = _SAY.get(type(event))
        text = say(event, fold.features.get(event.feature or "")) if say is not None else ""
        if not text:
            return ()
        subject = " ".join(one_line(p, 60) for p in (event.feature, event.attempt) if p)
        return (" ".join(p for p in (_clock(event), subject, text) if p),)

    def writable(self, line: str) -> str:
        """`line` in characters that the stream's encoding has."""
        if self.ascii:
            line = line.replace("…", "...").replace("→", "->").replace("·", "-")
        return line.encode(self._encoding, "backslashreplace").decode(self._encoding)

    def _opening(self, run: RunState) -> tuple[str, ...]:
        open_features = sum(f.state not in {"merged", "skipped"} for f in run.features.values())
        return (
            f"run {run.run}: {one_line(run.repo)} → {one_line(run.branch)} (times are UTC)",
            f"model: {model_source(run)}",
            unisolated(run) or f"sandbox: {one_line(run.sandbox)}",
            f"{counted(open_features, 'feature')} to do, {len(run.features)} in all",
        )


def encodes(encoding: str, text: str) -> bool:
    """Whether `encoding` has every character of `text`; False for one Python does not know."""
    try:
        text.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _clock(event: e.Event) -> str:
    return event.time[11:19]


def _round(event: e.RoundStarted, feature: FeatureState | None) -> str:
    of = f"/{feature.rounds}" if feature is not None and feature.rounds else ""
    why = f": {one_line(event.why)}" if event.why else ""
    return f"round {event.round}{of}, {counted(event.attempts, 'attempt')}{why}"


def _worked(event: e.AttemptFinished, _: FeatureState | None) -> str:
    if event.patch or event.ending == "cancelled":
        return ""  # verification, or the winner, has the next word
    return f"failed: {event.ending}, nothing to verify: {one_line(event.reason)}"


def _verified(event: e.VerificationFinished, _: FeatureState | None) -> str:
    if event.passed:
        return f"passed: acceptance {event.checks_passed}/{event.checks}"
    if event.usable and not event.checks:
        return "usable; no trusted check exists to judge it"
    return "rejected: " + one_line(
        rejection(event.problems, event.checks_passed, event.checks), 200
    )


def _selected(event: e.AttemptSelected, _: FeatureState | None) -> str:
    why = one_line("; ".join(event.reasons))
    return f"selected: {why}" if event.attempt else f"nothing selected: {why}"


def _merged(event: e.FeatureMerged, feature: FeatureState | None) -> str:
    text = f"merged as {event.commit[:12]}"
    if feature is None:
        return text
    took = duration(feature.seconds)
    cost = money(feature.cost_usd, feature.unknown_cost)
    return ", ".join(p for p in (text, took, cost) if p)


def _trouble(error: str) -> str:
    kind, _, words = error.partition(": ")
    if kind == ModelUnreachableError.__name__:
        return f"unreachable ({one_line(words, 80)})"
    return f"busy ({one_line(error, 80)})"


def _reviewed(event: e.PlanReviewed, _: FeatureState | None) -> str:
    by = f" by {event.by}" if event.by else ""
    why = f": {one_line(event.reason)}" if event.reason else ""
    return f"plan {event.request}: {event.verdict}{by}{why}"


def _wrote(event: e.DocumentWritten, _: FeatureState | None) -> str:
    what = f"{event.role} wrote {event.document} v{event.version}"
    back = f", sent back: {one_line('; '.join(event.problems), 200)}" if event.problems else ""
    return f"{what} ({event.source}, {money(event.cost_usd or 0.0, event.cost_usd is None)}){back}"


#: Kinds that are not here are for the journal only.
_SAY: Mapping[type[e.Event], Callable[[Any, FeatureState | None], str]] = {
    e.PlanStarted: lambda event, _: f"plans ({event.model}): {one_line(event.goal)}",
    e.DocumentWritten: _wrote,
    e.PlanReviewed: _reviewed,
    e.PlanFinished: lambda event, _: (
        f"planned {counted(len(event.features), 'feature')}: {', '.join(event.features)}"
    ),
    e.RunFinished: lambda event, _: f"finished, exit code {event.exit_code}",
    e.RunStopped: lambda event, _: f"stopped: {one_line(event.reason)}",
    e.DrainRequested: lambda event, _: (
        f"draining: {one_line(event.reason)}; Ctrl-C again stops at once"
    ),
    e.ControlTaken: lambda event, _: f"{one_line(event.by, 80)}: {one_line(event.answer)}",
    e.HoursKept: lambda event, _: f"waits: {event.reason}" if event.reason else "may begin work",
    e.FeatureSkipped: lambda event, _: f"skipped: {one_line(event.reason)}",
    e.WarningGiven: lambda event, _: f"warning: {one_line(event.message)}",
    e.LimitHit: lambda event, _: f"limit: {one_line(event.what)}",
    e.BudgetLow: lambda event, _: (
        f"warning: of the budget of {one_line(event.scope, 80)}, ${event.cap_usd:.2f}, "
        f"${event.spent_usd:.2f} are spent"
    ),
    e.LimitChanged: lambda event, _: (
        f"{one_line(event.model, 60)}: {one_line(event.why)}; asked again {event.until[:19]}Z"
        if event.pause >= LONG_PAUSE
        else ""
    ),
    e.DataHeld: lambda event, _: f"held until data is fresh: {one_line(event.reason)}",
    e.DataReleased: lambda event, _: f"goes on after {duration(event.seconds)} of waiting",
    e.DataOverridden: lambda event, _: (
        f"{one_line(event.by, 80)} overrode the data gate: {one_line(event.reason)}"
    ),
    e.DataRefused: lambda event, _: f"refused, data is not fresh: {one_line(event.reason)}",
    e.BasePrepared: lambda event, _: (
        f"base {event.commit[:12]} prepared in {event.seconds:.1f}s"
        if event.seconds >= LONG_BASE
        else ""
    ),
    e.ConnectionAsked: lambda event, _: (
        "" if event.allowed else f"connection refused: {one_line(event.reason, 160)}"
    ),
    e.RoundStarted: _round,
    e.AttemptResumed: lambda event, _: f"resumed after {counted(event.turns, 'turn')}",
    e.ModelRetried: lambda event, _: (
        f"model {_trouble(event.error)}, again in {event.wait:.0f}s"
        if event.wait >= LONG_WAIT
        else ""
    ),
    e.AttemptFinished: _worked,
    e.VerificationFinished: _verified,
    e.AttemptSelected: _selected,
    e.ReviewRequested: lambda event, _: f"needs review: {one_line('; '.join(event.reasons))}",
    e.ReviewResolved: lambda event, _: f"accepted by {one_line(event.by, 80)}",
    e.MergeRejected: lambda event, _: f"merge refused: {one_line(event.reason)}",
    e.FeatureMerged: _merged,
    e.FeatureFailed: lambda event, _: f"failed: {one_line(event.reason)}",
    e.FeatureBlocked: lambda event, _: f"blocked: depends on {one_line(event.on, 60)}",
}
