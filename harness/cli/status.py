"""Plain tables for `fibreflow status` and `fibreflow list`, made from files alone."""

from collections import Counter
from collections.abc import Iterable

from harness.record.workspace import RunInfo
from orchestrator.reporting.wording import (
    command,
    duration,
    lost,
    model_source,
    money,
    one_line,
    unisolated,
)
from orchestrator.runs import waiting
from orchestrator.runs.state import FeatureState, RunState, critical_path_left, seconds_left


def render_status(run: RunState, *, alive: bool = False) -> str:
    """The run as it stands. `alive`: a process holds the workspace and works on it now."""
    cap = f" of {money(run.budget_usd)}" if run.budget_usd is not None else ""
    took = (run.finished or run.latest or 0.0) - (run.started or 0.0)
    lines = [
        f"run {one_line(run.run)}: {_standing(run, alive)}",
        f"{one_line(run.repo)}, branch {one_line(run.branch)}",
        f"model: {model_source(run)}",
        unisolated(run) or f"sandbox: {one_line(run.sandbox)}",
        f"{money(run.cost_usd, run.unknown_cost)}{cap}, {duration(took)}{_left(run)}",
        *([lost(run.lost_calls, run.lost_usd)] if run.lost_calls else []),
        "",
        *_table(run),
    ]
    lines += [
        f"{feature.state} {one_line(feature.id, 64)}: {one_line('; '.join(feature.reasons))}"
        for feature in run.features.values()
        if feature.state in {"failed", "review", "blocked"} and feature.reasons
    ]
    lines += [f"{one_line(id_, 64)}: waits: {one_line(why)}" for id_, why in waiting.reasons(run)]
    lines += [f"warning: {one_line(warning)}" for warning in run.warnings]
    lines += [f"limit: {one_line(limit)}" for limit in run.limits]
    return "\n".join(lines) + "\n"


def render_runs(runs: Iterable[RunInfo]) -> str:
    """One line per run, in the order given."""
    table: list[tuple[str, ...]] = [("run", "standing", "exit")]
    for run in runs:
        standing = "finished" if run.finished else one_line(run.stopped, 60) or "not finished"
        table.append((run.id, standing, "" if run.exit_code is None else str(run.exit_code)))
    return "\n".join(_columns(table)) + "\n" if len(table) > 1 else "no runs yet\n"


_HEADER = ("feature", "state", "round", "attempts", "cost", "time", "winner")
#: Terminals are this wide at least.
_WIDTH = 80
#: Ids are cut, but to no less than this.
_LEAST = 12


def _standing(run: RunState, alive: bool) -> str:
    if run.finished is not None:
        accepted = [one_line(f.id, 40) for f in run.features.values() if f.accepted_by]
        since = f"; accepted since: {', '.join(accepted)}" if accepted else ""
        waiting = any(f.state == "blocked" for f in run.features.values()) and accepted
        more = "; the command that began it goes on with what is blocked" if waiting else ""
        return f"finished, exit code {run.exit_code}{since}{more}"
    if run.stopped is not None:
        return f"stopped: {one_line(run.stopped)}; `{command(run.workspace, 'resume')}` goes on"
    if alive:
        why = f", paused by {one_line(run.paused)}" if run.paused is not None else ""
        why += f", {one_line(run.held)}" if run.held is not None else ""
        why += f" (draining: {one_line(run.draining)})" if run.draining is not None else ""
        return f"running, process {run.pid}{why}"
    return (
        f"killed: its process {run.pid} is gone; `{command(run.workspace, 'resume')}` goes on, "
        "and what had ended is not done again"
    )


def _left(run: RunState) -> str:
    path, eta = critical_path_left(run), seconds_left(run)
    if not path:
        return ""
    about = f", about {duration(eta)}" if eta is not None else ""
    return f", critical path {path} left{about}"


def _table(run: RunState) -> list[str]:
    """As wide as a terminal at the most: the ids get what room the rest leaves."""
    rows = [_row(feature, run.latest) for feature in run.features.values()]
    rest = _columns([_HEADER[1:], *(row[1:] for row in rows)])
    room = max(_LEAST, _WIDTH - 2 - max(len(line) for line in rest))
    return _columns([_HEADER, *((one_line(row[0], room), *row[1:]) for row in rows)])


def _row(feature: FeatureState, latest: float | None) -> tuple[str, ...]:
    took = feature.seconds
    if took is None and feature.started is not None and latest is not None:
        took = max(0.0, latest - feature.started)
    return (
        feature.id,
        feature.state,
        f"{feature.round}/{feature.rounds}" if feature.round else "",
        _attempts(feature),
        money(feature.cost_usd, feature.unknown_cost) if feature.attempts else "",
        duration(took),
        feature.winner or "",
    )


def _attempts(feature: FeatureState) -> str:
    found = Counter(attempt.state for attempt in feature.attempts.values())
    if not found:
        return ""
    at_work = found["running"] + found["verifying"]
    passed = f"{found['passed']} of {found.total()} passed"
    return f"{passed}, {at_work} at work" if at_work else passed


def _columns(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table]
