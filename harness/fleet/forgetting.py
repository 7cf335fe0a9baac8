"""Removes from a fleet's database what nobody asks for any more of runs that are over.

Their files stay as they are, and so does the book of money: caps of a month, and what people ask
of past costs, rest on it.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from harness import control_book, engine_store
from harness.database import Database, execute

if TYPE_CHECKING:
    from sqlalchemy import Connection

_QUEUE = "DELETE FROM fibreflow_work WHERE run = :run"
#: A run's id begins with the moment, in UTC, at which it began.
_OVER = "SELECT run FROM fibreflow_runs WHERE standing = 'ended' AND run < :before FOR UPDATE"
_REST = (
    "DELETE FROM fibreflow_events WHERE run = :run",
    "DELETE FROM fibreflow_controls WHERE run = :run",
    "DELETE FROM fibreflow_versions WHERE run = :run",
    "DELETE FROM fibreflow_runs WHERE run = :run",
)


def at_end(connection: "Connection", run: str) -> None:
    """Of a run that has just ended: its queue, and what the engine recorded to go on with it."""
    execute(connection, _QUEUE, {"run": run})
    engine_store.forget(connection, run)


def older(database: Database, days: int) -> list[str]:
    """The runs that are over and began more than so many days ago: all that is kept of them but
    money is removed, their events too, which `events.jsonl` has. Blocks."""
    before = f"{datetime.now(UTC) - timedelta(days=days):%Y%m%d-%H%M%S}"

    def forget(connection: "Connection") -> list[str]:
        execute(connection, control_book.TABLE)
        runs = [str(row[0]) for row in execute(connection, _OVER, {"before": before})]
        for run in runs:
            at_end(connection, run)
            for text in _REST:
                execute(connection, text, {"run": run})
        return runs

    return database.run(forget)
