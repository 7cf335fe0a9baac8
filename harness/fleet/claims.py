"""The queue of attempts in the engine's database: who waits, who works on what, what came of it.

The same tables and the same words on a SQLite file with one process and on Postgres with many.
An attempt is a row: waiting without a session, at work with one, ended with an outcome. Rows are
taken and ended many at a time, for a transaction costs more than a row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.database import Database, Rows, execute
from harness.fleet import program, sessions
from orchestrator.runs import claiming
from orchestrator.runs.claiming import Limits, Waiting

if TYPE_CHECKING:
    from sqlalchemy import Connection

TABLES = (
    "CREATE TABLE IF NOT EXISTS fibreflow_work (id TEXT PRIMARY KEY, run TEXT NOT NULL, "
    "kind TEXT NOT NULL, tier TEXT NOT NULL, args TEXT NOT NULL, priority INTEGER NOT NULL, "
    "number INTEGER NOT NULL, session TEXT, generation INTEGER NOT NULL DEFAULT 0, outcome TEXT, "
    "told INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX IF NOT EXISTS fibreflow_waiting ON fibreflow_work (run, tier, priority, number) "
    "WHERE session IS NULL AND outcome IS NULL",
    "CREATE INDEX IF NOT EXISTS fibreflow_working ON fibreflow_work (session, run, tier) "
    "WHERE session IS NOT NULL AND outcome IS NULL",
    "CREATE INDEX IF NOT EXISTS fibreflow_untold ON fibreflow_work (run) "
    "WHERE outcome IS NOT NULL AND told = 0",
    "CREATE TABLE IF NOT EXISTS fibreflow_runs (run TEXT PRIMARY KEY, workspace TEXT NOT NULL, "
    "standing TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', code INTEGER NOT NULL DEFAULT 0, "
    "spent INTEGER NOT NULL DEFAULT 0, workers INTEGER, stand_in DOUBLE PRECISION)",
    "CREATE TABLE IF NOT EXISTS fibreflow_versions (run TEXT PRIMARY KEY, version TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS fibreflow_limits (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)
#: One process at a time looks at all limits and takes what they leave.
_TURN = "SELECT pg_advisory_xact_lock(1179006827)"
_INSERT = (
    "INSERT INTO fibreflow_work (id, run, kind, tier, args, priority, number) "
    "VALUES (:id, :run, :kind, :tier, :args, :priority, :number) ON CONFLICT (id) DO NOTHING"
)
_OPEN_RUNS = (
    "SELECT r.run, r.workspace, r.standing, r.workers, v.version FROM fibreflow_runs r "
    "LEFT JOIN fibreflow_versions v ON v.run = r.run WHERE r.standing <> 'ended'"
)
_AT_WORK = (
    "SELECT run, tier, COUNT(*) FROM fibreflow_work "
    "WHERE session IS NOT NULL AND outcome IS NULL GROUP BY run, tier"
)
#: What was begun before goes first: its sandbox may still stand.
_WAITING = """
SELECT id, run, tier, begun, priority, number FROM (
    SELECT id, run, tier, priority, number, begun,
           ROW_NUMBER() OVER (PARTITION BY run, tier ORDER BY begun, priority, number) AS place
    FROM (SELECT *, CASE WHEN generation > 0 THEN 0 ELSE 1 END AS begun FROM fibreflow_work
          WHERE session IS NULL AND outcome IS NULL) AS waiting) AS placed
WHERE place <= :free
"""
_TAKE = (
    "UPDATE fibreflow_work SET session = :session, generation = generation + 1 WHERE {among} "
    "AND session IS NULL AND outcome IS NULL RETURNING id, run, kind, args, generation"
)
#: One statement for many ids: SQLite has no lists, so they come as JSON.
_AMONG = {True: "id = ANY(:ids)", False: "id IN (SELECT value FROM json_each(:ids))"}
_END = (
    "UPDATE fibreflow_work SET outcome = :outcome, told = :told "
    "WHERE id = :id AND session = :session AND outcome IS NULL"
)
_CANCEL = (
    "UPDATE fibreflow_work SET outcome = :outcome, told = 1 WHERE id = :id AND outcome IS NULL"
)
_TELL = (
    "UPDATE fibreflow_work SET told = 1 WHERE run = :run AND outcome IS NOT NULL AND told = 0 "
    "RETURNING id, outcome, generation"
)
_ANY = (
    "SELECT 1 FROM fibreflow_work WHERE run = :run AND session IS NOT NULL AND outcome IS NULL "
    "LIMIT 1"
)
_KNOWN = (
    "SELECT id, outcome, generation FROM fibreflow_work WHERE run = :run AND outcome IS NOT NULL"
)
_GIVE_BACK = "UPDATE fibreflow_work SET session = NULL WHERE session = :session AND outcome IS NULL"
_STANDING = "SELECT id FROM fibreflow_work WHERE session = :session AND outcome IS NULL"
#: Where one process has the file to itself, whatever is at work belongs to a dead one.
_ALL_BACK = "UPDATE fibreflow_work SET session = NULL WHERE outcome IS NULL AND run = :run"

#: An outcome, and the generation that came to it.
Ended = tuple[dict[str, Any], int]


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt taken by this process. `generation`: from 1, how often it was taken."""

    id: str
    run: str
    kind: str
    args: tuple[Any, ...]
    generation: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is not over. `standing`: working, held (nothing new is begun) or stopped (what
    is at work is given back). `workers`: its own limit. `version`: of the program that holds it,
    None where nobody has said so."""

    id: str
    workspace: str
    standing: str
    workers: int | None
    version: str | None

    @property
    def is_others(self) -> bool:
        """Whether it belongs to another version of the program than this process is."""
        return self.version is not None and self.version != program.version()


class Claims:
    """Calls block for one short transaction. Raises `MachineError` and `TakenOverError`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # ------------------------------------------------------------- a run's side

    def insert(
        self, run: str, kind: str, work: Mapping[str, tuple[str, Sequence[Any]]], priority: int
    ) -> None:
        """Queue work, (tier, arguments) by id, in this order; what is there stays as it is."""
        rows = [
            {"id": id_, "run": run, "kind": kind, "tier": tier, "args": json.dumps(list(args)),
             "priority": priority, "number": number}
            for number, (id_, (tier, args)) in enumerate(work.items())
        ]  # fmt: skip
        if rows:
            self.database.do(_INSERT, rows)

    def cancel(self, ids: Sequence[str]) -> None:
        """They have ended, as cancelled, unless they had before. Who works on one finds out."""
        outcome = json.dumps({"cancelled": True})
        if ids:
            self.database.do(_CANCEL, [{"id": id_, "outcome": outcome} for id_ in ids])

    def known(self, run: str) -> dict[str, Ended]:
        """All that has ended of a run so far, by id."""
        return _ends(self.database.do(_KNOWN, {"run": run}))

    def news(self, run: str) -> dict[str, Ended]:
        """What has ended since, by id; each once."""
        told: dict[str, Ended] = {}

        def tell(connection: "Connection") -> dict[str, Ended]:
            # Done again where only the word that it was done was lost, it finds nothing new.
            told.update(_ends(execute(connection, _TELL, {"run": run})))
            return told

        return self.database.run(tell)

    def is_at_work(self, run: str) -> bool:
        """Whether anybody works on something of the run."""
        return bool(self.database.do(_ANY, {"run": run}))

    def limit_run(self, run: str, workers: int) -> None:
        """At most so many of a run's attempts work at once, on all machines."""
        text = "UPDATE fibreflow_runs SET workers = :workers WHERE run = :run"
        self.database.do(text, {"run": run, "workers": workers})

    def reopen(self, run: str) -> None:
        """All that is at work waits again: its only process was killed."""
        self.database.do(_ALL_BACK, {"run": run})

    # ---------------------------------------------------------- a worker's side

    def take(self, session: str, free: int, runs: Sequence[str] | None = None) -> list[Claim]:
        """Take up to `free` attempts, of `runs` alone where they are named."""
        before: list[Claim] = []

        def take(connection: "Connection") -> list[Claim]:
            if self.database.shared:
                sessions.require(connection, session)
                execute(connection, _TURN)
            # Where only the word that it was done was lost, they are this session's already.
            if before:
                there = {r[0] for r in execute(connection, _STANDING, {"session": session})}
                before[:] = [claim for claim in before if claim.id in there]
            waiting = execute(connection, _WAITING, {"free": free}) if len(before) < free else ()
            if waiting:
                chosen = _chosen(connection, waiting, free - len(before), runs)
                before.extend(self._taken(connection, session, chosen))
            return list(before)

        return self.database.run(take)

    def _taken(self, connection: "Connection", session: str, chosen: list[str]) -> list[Claim]:
        """In this order, but for what somebody else has taken."""
        shared = self.database.shared
        text = _TAKE.format(among=_AMONG[shared])
        ids = chosen if shared else json.dumps(chosen)
        rows = execute(connection, text, {"ids": ids, "session": session})
        taken = {r[0]: Claim(r[0], r[1], r[2], tuple(json.loads(r[3])), r[4]) for r in rows}
        return [taken[id_] for id_ in chosen if id_ in taken]

    def end(self, session: str, ends: Mapping[str, Ended], *, told: bool) -> None:
        """What this session's work came to; `told`: whoever waits for it knows. What was
        cancelled meanwhile stays so."""
        rows = [
            {"id": id_, "session": session, "outcome": json.dumps(value), "told": int(told)}
            for id_, (value, _) in ends.items()
        ]

        def end(connection: "Connection") -> None:
            if self.database.shared:
                sessions.require(connection, session)
            execute(connection, _END, rows)

        self.database.run(end)

    def give_back(self, connection: "Connection", gone: Sequence[str]) -> None:
        """Within a transaction that removes these sessions: their work waits again."""
        for session in gone:
            execute(connection, _GIVE_BACK, {"session": session})

    def release(self, session: str, ids: Sequence[str]) -> None:
        """Give work back that this session will not go on with."""
        text = f"{_GIVE_BACK} AND id = :id"
        if ids:
            self.database.do(text, [{"session": session, "id": id_} for id_ in ids])

    def standing(self, session: str) -> set[str]:
        """What this session is still to work on."""
        return {row[0] for row in self.database.do(_STANDING, {"session": session})}

    def runs(self) -> dict[str, Run]:
        """The runs that are not over, by id."""
        return {row[0]: Run(*row) for row in self.database.do(_OPEN_RUNS)}


def _ends(rows: Rows) -> dict[str, Ended]:
    return {row[0]: (json.loads(row[1]), row[2]) for row in rows}


def _chosen(
    connection: "Connection", waiting: Rows, free: int, runs: Sequence[str] | None
) -> list[str]:
    known = {row[0]: Run(*row) for row in execute(connection, _OPEN_RUNS)}
    held = {id_ for id_, run in known.items() if run.standing != "working" or run.is_others}
    named = {row[0]: int(row[1]) for row in execute(connection, "SELECT * FROM fibreflow_limits")}
    limits = Limits(
        everywhere=named.pop("all", None),
        tiers=named,
        runs={id_: run.workers for id_, run in known.items() if run.workers is not None},
    )
    at_work = {(r[0], r[1]): int(r[2]) for r in execute(connection, _AT_WORK)}
    found = (
        Waiting(r[0], r[1], r[2], (r[3], r[4], r[5]))
        for r in waiting
        if r[1] not in held and (runs is None or r[1] in runs)
    )
    return claiming.choose(found, at_work, limits, free)
