"""`fibreflow worker` and `fibreflow fleet`."""

import json
from typing import Any

from harness import database
from harness.cli.flags import Command
from harness.database import VARIABLE, Database
from harness.fleet import forgetting, sessions
from harness.fleet.member import TABLES
from orchestrator.errors import InputError
from orchestrator.reporting.wording import counted

_SET = (
    "INSERT INTO fibreflow_limits (name, value) VALUES (:name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_LIFT = "DELETE FROM fibreflow_limits WHERE name = :name"
_WORK = (
    "SELECT w.run, r.standing, w.tier, COUNT(*) FILTER (WHERE w.session IS NOT NULL), "
    "COUNT(*) FILTER (WHERE w.session IS NULL) FROM fibreflow_work w "
    "LEFT JOIN fibreflow_runs r ON r.run = w.run WHERE w.outcome IS NULL "
    "GROUP BY w.run, r.standing, w.tier ORDER BY w.run, w.tier"
)


def worker(command: Command) -> int:
    from harness.fleet import worker as own  # noqa: PLC0415 - its imports are a run's

    return own.work(int(command.words["workers"]))


def fleet(command: Command) -> int:
    """Set limits, then show who is alive, what is at work and what waits."""
    url = database.url()
    if url is None:
        raise InputError(f"a fleet needs {VARIABLE}: the Postgres of its runs and workers")
    book = Database(url, TABLES)
    try:
        for name, value in command.words.get("limit") or ():
            book.do(_LIFT if value is None else _SET, {"name": name, "value": value})
        days = command.words.get("forget")
        forgotten = forgetting.older(book, int(days)) if days is not None else None
        found = _look(book)
    finally:
        book.close()
    if forgotten is not None:
        found["forgotten"] = forgotten
    print(json.dumps(found) if command.words.get("json") else _told(found))
    return 0


def _look(book: Database) -> dict[str, Any]:
    return {
        "processes": [
            {"id": r[0], "run": r[1], "host": r[2], "pid": r[3], "places": r[4], "version": r[5]}
            for r in sessions.live(book)
        ],
        "work": [
            {"run": r[0], "standing": r[1], "tier": r[2], "at_work": r[3], "waiting": r[4]}
            for r in book.do(_WORK)
        ],
        "limits": {r[0]: r[1] for r in book.do("SELECT name, value FROM fibreflow_limits")},
    }


def _told(found: dict[str, Any]) -> str:
    mixed = len({p["version"] for p in found["processes"]}) > 1
    lines = [
        f"{p['host']}, process {p['pid']}: "
        + (f"holds {p['run']}" if p["run"] else f"takes up to {p['places']} attempts")
        + (f" (FibreFlow {p['version'] or 'of before versions were told'})" if mixed else "")
        for p in found["processes"]
    ]
    if mixed:
        lines.append("these are of several versions: each takes attempts of its own version's runs")
    lines += [
        f"{w['run']} ({w['standing']}), {w['tier']}: {w['at_work']} at work, {w['waiting']} waiting"
        for w in found["work"]
    ]
    if "forgotten" in found:
        lines.append(f"{counted(len(found['forgotten']), 'run')} forgotten; their files stay")
    lines += [f"limit {name}: {value}" for name, value in sorted(found["limits"].items())]
    return "\n".join(lines) or "nobody is at work, and nothing waits"
