"""Opens the database that the durable engine keeps its records in, and looks whether it may go on.

No part of the engine itself: only tables and connections.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import MachineError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy import Engine as Store

_OF_RUN = "(workflow_uuid = :run OR workflow_uuid LIKE :run || '/%')"
_UNFINISHED = (
    "WHERE status IN ('PENDING', 'ENQUEUED') AND application_version <> :ours "
    f"AND (:run = '' OR {_OF_RUN})"
)
_VERSIONS = "SELECT DISTINCT application_version FROM {table} " + _UNFINISHED  # noqa: S608
_ADOPTION = "UPDATE {table} SET application_version = :ours " + _UNFINISHED  # noqa: S608
#: Where the engine keeps its tables on Postgres.
_SCHEMA = "dbos"
#: Where a workflow's records are; the last brings along what refers to it.
_RECORDS = ("workflow_input", "workflow_output", "operation_outputs", "workflow_status")
#: How long a transaction may stand idle on Postgres.
_IDLE_SECONDS = 5


def open_store(store: str | Path) -> "Store":
    """A store by its file, or by the URL of a Postgres database. Raises `MachineError`."""
    if isinstance(store, Path):
        return open_sqlite(store)
    import sqlalchemy  # noqa: PLC0415 - late, for it costs start-up

    opened = sqlalchemy.create_engine(
        driver_url(store),
        pool_size=5,
        # A frozen process must not keep its locks: nobody could take its work over.
        connect_args={
            "options": f"-c idle_in_transaction_session_timeout={_IDLE_SECONDS}s",
            "connect_timeout": 5,
        },
    )
    sqlalchemy.event.listen(opened, "handle_error", _tell_that_it_is_away)
    return opened


def _tell_that_it_is_away(context: Any) -> None:
    # The durable engine waits for a database that it takes for away. It goes by the driver's
    # words, which are others where a local socket refuses at once, and would fail the run.
    if context.connection is None:
        context.is_disconnect = True


def put_behind(store: "Store", fence: "Callable[[Connection], None]") -> None:
    """Have every transaction of the store begin with `fence`, which refuses it by raising."""
    import sqlalchemy  # noqa: PLC0415 - late, for it costs start-up

    sqlalchemy.event.listen(store, "begin", fence)


def driver_url(url: str) -> str:
    """The URL with the driver that is installed."""
    return "postgresql+psycopg://" + url.partition("://")[2]


def shown(store: str | Path) -> str:
    """A store's name for people, without a password."""
    if isinstance(store, Path):
        return str(store)
    return "postgresql://" + store.partition("://")[2].rpartition("@")[2].partition("?")[0]


def open_sqlite(path: Path) -> "Store":
    """The store in a file. Raises `MachineError` when it cannot be opened."""
    import sqlalchemy  # noqa: PLC0415 - late, for it costs start-up

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Write-ahead logging stays set in the file: a reader never blocks the writer.
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    store = sqlalchemy.create_engine(f"sqlite:///{path}")
    sqlalchemy.event.listen(store, "connect", _prepare_connection)
    return store


def adopt(store: "Store", name: object, *, run: str, ours: str, older: frozenset[str]) -> None:
    """Take over what the compatible versions `older` left unfinished of a run.

    Raises `MachineError` for what any other version left, for the engine would leave it waiting
    for ever. `name` is the store's, for people; `run` is empty where the store is its own.
    """
    import sqlalchemy as sa  # noqa: PLC0415 - late, for it costs start-up

    schema = _SCHEMA if store.dialect.name == "postgresql" else None
    table = f"{schema}.workflow_status" if schema else "workflow_status"
    values = {"ours": ours, "run": run}
    try:
        if not sa.inspect(store).has_table("workflow_status", schema=schema):
            return
        with store.begin() as connection:
            versions = connection.execute(sa.text(_VERSIONS.format(table=table)), values)
            found = {str(row[0]) for row in versions}
            unknown = sorted(found - older)
            if unknown:
                raise MachineError(
                    f"{name}: the run was begun by version {', '.join(unknown)} of the workflows, "
                    f"which version {ours} cannot continue; {_forget(name, table, run)} and the "
                    "same command finish it: it is rebuilt from git and the logs, and no attempt "
                    "that has ended runs again"
                )
            if found:
                connection.execute(sa.text(_ADOPTION.format(table=table)), values)
    except sa.exc.SQLAlchemyError as error:
        raise _unusable(name, error) from error


def forget(connection: "Connection", run: str) -> None:
    """Remove what the engine recorded of a run, on a Postgres of many runs."""
    import sqlalchemy as sa  # noqa: PLC0415 - late, for it costs start-up

    if not sa.inspect(connection).has_table("workflow_status", schema=_SCHEMA):
        return
    for table in _RECORDS:
        text = f"DELETE FROM {_SCHEMA}.{table} WHERE {_OF_RUN}"  # noqa: S608 - of constants
        connection.execute(sa.text(text), {"run": run})


def _forget(name: object, table: str, run: str) -> str:
    """The command that has the engine forget the run."""
    if not run:
        return f"`rm {name}*`"
    where = f"workflow_uuid = '{run}' OR workflow_uuid LIKE '{run}/%'"
    # For a person to read; the id is one that was made here.
    return f'`psql $HARNESS_DATABASE_URL -c "DELETE FROM {table} WHERE {where}"`'  # noqa: S608


def _unusable(name: object, error: Exception) -> MachineError:
    return MachineError(
        f"the engine's store {name} cannot be opened ({error}); "
        "free the disk or remove the file (the run is rebuilt from git and the logs)"
    )


def _prepare_connection(connection: Any, _record: Any) -> None:
    # The write-ahead log survives the death of the process; only a power cut can lose the
    # last commits, which costs rework and nothing else.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=30000")
    # As the engine sets up the stores that it opens itself: writers wait for each other from
    # their first statement on, instead of failing at their first write.
    connection.isolation_level = "IMMEDIATE"
    connection.execute("PRAGMA foreign_keys=ON")
    if sqlite3.sqlite_version_info < (3, 42):
        # From Python 3.12 on, the engine's schema asks SQLite for `unixepoch('subsec')`, which
        # the SQLite of Debian 12 and Ubuntu 22.04 answers with NULL.
        connection.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: str) -> float | None:
    return time.time() if modifier == "subsec" else None
