"""The book of money of a fleet: the same rows, rules and words as in a file, on Postgres.

The caps of a month count all runs of the database. What a dead worker had reserved becomes of
unknown cost in the transaction that declares it dead.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.database import Database, Marked
from harness.fleet import sessions
from harness.record import taken
from harness.record.budget import BudgetBook, Statements, T

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SCHEMA = "fibreflow_budget"
TABLES = (
    f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.entries (rowid BIGSERIAL, "
    "key TEXT NOT NULL, scope TEXT NOT NULL, "
    "nano BIGINT NOT NULL, state TEXT NOT NULL CHECK (state IN ('held', 'spent', 'unknown')))",
    f"CREATE INDEX IF NOT EXISTS held_by_key ON {_SCHEMA}.entries (key) WHERE state = 'held'",
    f"CREATE INDEX IF NOT EXISTS held_by_scope ON {_SCHEMA}.entries (scope) WHERE state = 'held'",
    f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.totals (scope TEXT PRIMARY KEY, "
    "held BIGINT NOT NULL DEFAULT 0, spent BIGINT NOT NULL DEFAULT 0, "
    "unknown BIGINT NOT NULL DEFAULT 0)",
    f"""
CREATE OR REPLACE FUNCTION {_SCHEMA}.counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE {_SCHEMA}.totals SET
            held = held - CASE old.state WHEN 'held' THEN old.nano ELSE 0 END,
            spent = spent - CASE old.state WHEN 'spent' THEN old.nano ELSE 0 END,
            unknown = unknown - CASE old.state WHEN 'unknown' THEN old.nano ELSE 0 END
        WHERE scope = old.scope;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {_SCHEMA}.totals AS t (scope, held, spent, unknown) VALUES (new.scope,
            CASE new.state WHEN 'held' THEN new.nano ELSE 0 END,
            CASE new.state WHEN 'spent' THEN new.nano ELSE 0 END,
            CASE new.state WHEN 'unknown' THEN new.nano ELSE 0 END)
        ON CONFLICT (scope) DO UPDATE SET held = t.held + excluded.held,
            spent = t.spent + excluded.spent, unknown = t.unknown + excluded.unknown;
    END IF;
    RETURN NULL; END $$""",  # noqa: S608 - of constants
    f"CREATE OR REPLACE TRIGGER counted AFTER INSERT OR UPDATE OR DELETE ON {_SCHEMA}.entries "
    f"FOR EACH ROW EXECUTE FUNCTION {_SCHEMA}.counted()",
)
_TURN = (  # constants, no input
    f"SELECT set_config('search_path', '{_SCHEMA},public', true), pg_advisory_xact_lock(1179006828)"
)
_ABANDON = """
UPDATE entries SET state = 'unknown' WHERE state = 'held' AND key IN (
    SELECT e.key FROM entries e JOIN fibreflow_work w ON e.scope = 'attempt ' || w.id
    WHERE e.state = 'held' AND w.session = ANY(%s) AND w.outcome IS NULL)
"""


class SharedBook(BudgetBook):
    """A `BudgetBook` on Postgres. `holder`: the session of whoever spends for the run itself;
    nobody whose session was removed can reserve. Raises `TakenOverError` then."""

    def __init__(self, database: Database, holder: Callable[[], str | None]) -> None:
        self._database = database
        self._holder = holder

    def _read(self, work: Callable[[Statements], T]) -> T:
        return self._database.run(lambda connection: work(_in_turn(connection)))

    def _write(self, work: Callable[[Statements], T], *, fenced: bool = False) -> T:
        under = taken.current.get()
        session = under.session if under is not None else self._holder()

        def write(connection: "Connection") -> T:
            statements = _in_turn(connection)
            if fenced and session is not None:
                sessions.require(connection, session)
            return work(statements)

        return self._database.run(write)

    def close(self) -> None:
        """The database is the fleet's to close."""


def abandon(connection: "Connection", gone: Sequence[str]) -> None:
    """Within a transaction that removes these sessions: what their attempts hold is unknown."""
    _in_turn(connection).execute(_ABANDON, (list(gone),))


def _in_turn(connection: "Connection") -> Marked:
    connection.exec_driver_sql(_TURN)
    return Marked(connection)
