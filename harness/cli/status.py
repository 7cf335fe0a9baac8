"""Plain tables for `fibreflow status` and `fibreflow list`, made from files alone."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from harness.record.workspace import RunInfo
from orchestrator.reporting import report
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


def render_status(run: RunState, id_: str = "", *, alive: bool = False) -> str:
    """The run as it stands. `alive`: a process works on it now. `id_`: to call it by before its
    first event."""
    if run.started is None:
        return f"run {one_line(id_)}: {_unborn(alive)}\n"
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
        *_table(run, alive),
    ]
    lines += [
        f"{feature.state} {one_line(feature.id, 64)}: {one_line('; '.join(feature.reasons))}"
        for feature in run.features.values()
        if feature.state in {"failed", "review", "blocked"} and feature.reasons
    ]
    waits = waiting.reasons(run) if alive else ()
    lines += [f"{one_line(i, 64)}: waits: {one_line(why)}" for i, why in waits]
    lines += [f"warning: {one_line(warning)}" for warning in run.warnings]
    lines += [f"limit: {one_line(limit)}" for limit in run.limits]
    return "\n".join(lines) + "\n"


def to_json(run: RunState, *, alive: bool) -> dict[str, Any]:
    """What a report has, and how the run stands: `standing`, `waits` (why, by feature), and for
    each feature in `now` where it is, which a report of what is not over cannot say."""
    data = report.to_json(report.build(run))
    for feature in data["features"]:
        feature["now"] = _now(run.features[feature["id"]].state, alive)
    waits = dict(waiting.reasons(run)) if alive else {}
    return {**data, "standing": _word(run, alive), "waits": waits}


def _word(run: RunState, alive: bool) -> str:
    if run.finished is not None:
        return "finished"
    if alive:
        return "paused" if run.paused is not None else "running"
    return "stopped" if run.stopped is not None else "killed"


def _now(state: str, alive: bool) -> str:
    """A feature's state; what was at work with a process that is gone is so no more."""
    return "stopped" if state in {"running", "merging"} and not alive else state


def _unborn(alive: bool) -> str:
    return "begins" if alive else "its process is gone before it began; give the same command again"


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


def _table(run: RunState, alive: bool) -> list[str]:
    """As wide as a terminal at the most: the ids get what room the rest leaves."""
    rows = [_row(feature, run.latest, alive) for feature in run.features.values()]
    rest = _columns([_HEADER[1:], *(row[1:] for row in rows)])
    room = max(_LEAST, _WIDTH - 2 - max(len(line) for line in rest))
    return _columns([_HEADER, *((one_line(row[0], room), *row[1:]) for row in rows)])


def _row(feature: FeatureState, latest: float | None, alive: bool) -> tuple[str, ...]:
    took = feature.seconds
    if took is None and feature.started is not None and latest is not None:
        took = max(0.0, latest - feature.started)
    return (
        feature.id,
        _now(feature.state, alive),
        f"{feature.round}/{feature.rounds}" if feature.round else "",
        _attempts(feature, alive),
        money(feature.cost_usd, feature.unknown_cost) if feature.attempts else "",
        duration(took),
        feature.winner or "",
    )


def _attempts(feature: FeatureState, alive: bool) -> str:
    found = Counter(attempt.state for attempt in feature.attempts.values())
    if not found:
        return ""
    at_work = found["running"] + found["verifying"]
    passed = f"{found['passed']} of {found.total()} passed"
    return f"{passed}, {at_work} {'at work' if alive else 'to go on'}" if at_work else passed


def _columns(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table]
