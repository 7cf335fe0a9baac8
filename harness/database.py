"""One database for the books that processes share: opened, and asked again when it was away.

A SQLite file for one machine, Postgres for many. Connections come from a pool and end a
transaction that stands idle for five seconds, for a frozen process must not keep its locks.
"""

import copy
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness import engine_store
from orchestrator.errors import MachineError

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Names the Postgres of a fleet.
VARIABLE = "HARNESS_DATABASE_URL"
#: How long work waits for a database that is away: a restart takes seconds, a failover a minute.
_PATIENCE_SECONDS = 120.0
#: At first, when a wrong address is to be said soon: who was frozen meanwhile has lost the
#: connection, and has another at once.
_FIRST_SECONDS = 1.0
_PAUSE_SECONDS = 0.25
#: Any number of ours: tables are made by one process at a time.
_TABLES_LOCK = 0x46467461

T = TypeVar("T")
Rows = Sequence[Any]


def url() -> str | None:
    """The database that the environment names, None without one. Raises `MachineError` when it
    is none that this program can use."""
    text = os.environ.get(VARIABLE, "").strip()
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise MachineError(f"{VARIABLE} must begin with postgresql:// (unset: a file for each run)")
    return text or None


class Database:
    """Short transactions; calls block, so use a thread where it matters. Safe for threads.

    Raises `MachineError` when it cannot be reached for longer than a restart takes.
    """

    def __init__(self, store: str | Path, tables: Sequence[str] = ()) -> None:
        """`tables`: statements that make what is not there yet."""
        self._engine = engine_store.open_store(store)
        self.shared = not isinstance(store, Path)
        self.name = engine_store.shown(store)
        self._gave_up = False
        self._fence: Callable[[Connection], None] | None = None
        self._patience = _FIRST_SECONDS if self.shared else 0.0
        self.run(lambda connection: _make(connection, tables, shared=self.shared))
        self._patience = _PATIENCE_SECONDS if self.shared else 0.0

    def behind(self, fence: "Callable[[Connection], None]") -> "Database":
        """The same, but every transaction begins with `fence`, which refuses it by raising."""
        made = copy.copy(self)
        made._fence = fence
        return made

    def run(self, work: "Callable[[Connection], T]") -> T:
        """`work` in one transaction; from its beginning again when the connection was lost, so
        it must be one that can be done twice."""
        import sqlalchemy as sa  # noqa: PLC0415 - late, for it costs start-up

        patience = 0.0 if self._gave_up else self._patience
        failed: float | None = None  # when it did first: it is no failure to have been frozen
        while True:
            try:
                with self._engine.begin() as connection:
                    if self._fence is not None:
                        self._fence(connection)
                    result = work(connection)
                self._gave_up = False
                return result
            except sa.exc.DBAPIError as error:
                lost = error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
                failed = time.monotonic() if failed is None else failed
                if not lost or time.monotonic() - failed >= patience:
                    self._gave_up = True  # on leaving, not every book is to be waited for
                    raise MachineError(f"{self.name}: cannot be used ({error.orig})") from error
            time.sleep(_PAUSE_SECONDS)

    def do(self, text: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> Rows:
        """One statement as a transaction of its own; the rows that it returns, if any."""
        return self.run(lambda connection: execute(connection, text, values))

    def close(self) -> None:
        self._engine.dispose()


def execute(
    connection: "Connection",
    text: str,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
) -> Rows:
    """One statement with `:name` values, or with several of them; the rows it returns, if any."""
    import sqlalchemy as sa  # noqa: PLC0415 - late, for it costs start-up

    result = connection.execute(sa.text(text), values or None)
    return result.fetchall() if result.returns_rows else ()


def _make(connection: "Connection", tables: Sequence[str], *, shared: bool) -> None:
    if shared and tables:
        # Two processes that make the same table at once would both fail.
        execute(connection, f"SELECT pg_advisory_xact_lock({_TABLES_LOCK})")
    for statement in tables:
        execute(connection, statement)


class Marked:
    """Statements with `?` for a driver that marks values as `%s`."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def execute(self, text: str, values: Sequence[Any] = (), /) -> Any:
        return self._connection.exec_driver_sql(text.replace("?", "%s"), tuple(values))

    def executemany(self, text: str, values: Sequence[Sequence[Any]], /) -> Any:
        rows = [tuple(row) for row in values]
        return self._connection.exec_driver_sql(text.replace("?", "%s"), rows)
