"""Who is alive among the processes of one database, and the fence that keeps the others out.

Each process that works holds a session: a row that it renews every second. A session that was not
renewed for `LEASE_SECONDS` is removed by whoever notices first, and its work given back, in one
transaction. That removal is the fence: whatever a process writes to the database, it writes in a
transaction that first finds its session, so one that was frozen and thaws can write nothing.
"""

import hashlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.database import Database, Rows, execute
from harness.fleet import program
from orchestrator.errors import TakenOverError, WorkspaceLockedError

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Without a sign for so long, a process counts as dead. With the looks of the reaper (1 s) and of
#: the workers (0.25 s), its work is taken over well within 15 s.
LEASE_SECONDS = 6.0

TABLES = (
    "CREATE TABLE IF NOT EXISTS fibreflow_sessions (id TEXT PRIMARY KEY, run TEXT UNIQUE, "
    "host TEXT NOT NULL, pid INTEGER NOT NULL, places INTEGER NOT NULL, seen TIMESTAMPTZ NOT NULL, "
    "version TEXT NOT NULL DEFAULT '')",
    # Asked before: to alter a table waits for all who read it, also where nothing is to be done.
    "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = "
    "current_schema() AND table_name = 'fibreflow_sessions' AND column_name = 'version') THEN "
    "ALTER TABLE fibreflow_sessions ADD COLUMN version TEXT NOT NULL DEFAULT ''; END IF; END $$",
)
_BEGIN = (
    "INSERT INTO fibreflow_sessions (id, run, host, pid, places, seen, version) "
    "VALUES (:id, :run, :host, :pid, :places, clock_timestamp(), :version) "
    "ON CONFLICT (id) DO NOTHING"  # done again, where only the word that it was done was lost
)
_BEAT = "UPDATE fibreflow_sessions SET seen = clock_timestamp() WHERE id = ANY(:ids) RETURNING id"
_NOW = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
#: A sign from the future is one from before the database's clock was set back.
_FRESH = (
    "seen BETWEEN clock_timestamp() - make_interval(secs => :lease) "
    "AND clock_timestamp() + make_interval(secs => :lease)"
)
#: KEY SHARE keeps others from removing the row, not from renewing it.
_STANDS = "SELECT id FROM fibreflow_sessions WHERE id = :id FOR KEY SHARE"
_HOLDER = (
    f"SELECT id, host, pid, NOT ({_FRESH}) "  # noqa: S608 - of constants
    "FROM fibreflow_sessions WHERE run = :run FOR UPDATE"
)
_LIVE = (
    "SELECT id, run, host, pid, places, version "  # noqa: S608 - of constants
    f"FROM fibreflow_sessions WHERE {_FRESH} ORDER BY host, id"
)
#: Those whose rows a stuck transaction holds are left for the next look, when it was ended.
_DEAD = (
    f"SELECT id FROM fibreflow_sessions WHERE run IS NULL AND NOT ({_FRESH}) FOR UPDATE SKIP LOCKED"  # noqa: S608 - of constants
)
_SILENT = f"FROM fibreflow_sessions WHERE id = :id AND NOT ({_FRESH})"
_END = "DELETE FROM fibreflow_sessions WHERE id = ANY(:ids)"

#: Has the work of these sessions wait again, within the transaction that removes them.
GiveBack = Callable[["Connection", list[str]], None]


def begin(database: Database, *, places: int, run: str | None = None) -> str:
    """A new session's id: one that takes attempts, or with `run` the one that holds that run.

    Raises `WorkspaceLockedError` when a live process holds the run.
    """
    host = socket.gethostname()
    id_ = f"{host}-{os.getpid()}-{_numbered_by()}{secrets.token_hex(4)}"
    row = {"id": id_, "run": run, "host": host, "pid": os.getpid(), "places": places,
           "version": program.version()}  # fmt: skip

    def insert(connection: "Connection") -> None:
        if run is not None:
            _let_go_of(connection, run, id_)
        execute(connection, _BEGIN, row)

    database.run(insert)
    return id_


def fence_off(database: Database, id_: str, *, patience: float) -> bool:
    """Whether its process can write nothing any more, for it gave no sign for too long. One that
    was only cut off from the database has `patience` seconds to be back. Blocks."""
    values = {"id": id_, "lease": LEASE_SECONDS}
    if database.do(f"SELECT 1 {_SILENT}", values):
        time.sleep(patience)
        database.do(f"DELETE {_SILENT}", values)
    return not database.do("SELECT 1 FROM fibreflow_sessions WHERE id = :id", {"id": id_})


def _let_go_of(connection: "Connection", run: str, own: str) -> None:
    for id_, host, pid, old in execute(connection, _HOLDER, {"run": run, "lease": LEASE_SECONDS}):
        if id_ == own:
            continue
        if not old and not _is_dead(id_, pid):
            raise WorkspaceLockedError(
                f"run {run}: process {pid} on {host} is at work on it, or was a moment ago; "
                f"wait for it, or try again in {LEASE_SECONDS:.0f} s"
            )
        execute(connection, "DELETE FROM fibreflow_sessions WHERE run = :run", {"run": run})


def _numbered_by() -> str:
    """Who gives this process its number: a boot of a kernel and a PID namespace, as eight digits;
    empty where the system does not say. A host's name would not do: cloned machines share it, and
    so do containers on their host's network."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    return hashlib.sha256((boot + space).encode()).hexdigest()[:8]


def _is_dead(id_: str, pid: int) -> bool:
    """Whether a session's process is gone for certain, which needs no waiting for its signs."""
    numbered_by = _numbered_by()
    if not numbered_by or not id_.rpartition("-")[2].startswith(numbered_by):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def beat(database: Database, ids: list[str]) -> tuple[set[str], float]:
    """Renew; those that are there no more, and the seconds of the database's clock."""

    def renew(connection: "Connection") -> tuple[set[str], float]:
        there = {row[0] for row in execute(connection, _BEAT, {"ids": ids})}
        return set(ids) - there, float(execute(connection, _NOW)[0][0])

    return database.run(renew)


def require(connection: "Connection", id_: str) -> None:
    """Within a transaction: it is this session's to make. Raises `TakenOverError`."""
    if not execute(connection, _STANDS, {"id": id_}):
        raise TakenOverError(
            f"this process gave no sign for {LEASE_SECONDS:.0f} s, and others took over what it "
            "worked on; nothing is lost, and it may write nothing more of it"
        )


def reap(database: Database, give_back: GiveBack) -> list[str]:
    """Remove the sessions of workers that gave no sign for too long, and give their work back."""

    def remove(connection: "Connection") -> list[str]:
        dead = [row[0] for row in execute(connection, _DEAD, {"lease": LEASE_SECONDS})]
        if dead:
            execute(connection, _END, {"ids": dead})
            give_back(connection, dead)
        return dead

    return database.run(remove)


def end(
    database: Database, ids: list[str], give_back: "Callable[[Connection, list[str]], None]"
) -> None:
    """Leave in order: what they had taken is free at once."""

    def remove(connection: "Connection") -> None:
        execute(connection, _END, {"ids": ids})
        give_back(connection, ids)

    database.run(remove)


def live(database: Database) -> Rows:
    """(id, run, host, pid, places, version) of those that gave a sign lately."""
    return database.do(_LIVE, {"lease": LEASE_SECONDS})
