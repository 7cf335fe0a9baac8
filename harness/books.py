"""The books of a run, each where it belongs: files of the workspace, or tables of the fleet.

Without `HARNESS_DATABASE_URL` everything is a file, and one process has the workspace. With it,
journal, money, queue, controls and approvals are tables, and files are copies for people.
"""

from pathlib import Path

from harness import database, sessions
from harness.artifacts.opening import open_store
from harness.database import Database
from harness.fleet import TABLES, Fleet
from harness.ports import ArtifactStore
from harness.record.budget import BudgetBook
from harness.record.clock import SystemClock
from harness.record.journal import Journal
from harness.record.workspace import Workspace


def journal(workspace: Workspace, run: str, fleet: Fleet | None) -> Journal:
    """The book of a run's events, for the process that holds the run."""
    path = workspace.events(run)
    if fleet is None:
        return Journal(path, run, SystemClock())
    from harness.record.journal_shared import SharedJournal  # noqa: PLC0415 - fleets alone

    return SharedJournal(path, run, SystemClock(), fleet.database, lambda: fleet.holder or "")


def budget(workspace: Workspace, fleet: Fleet | None = None) -> BudgetBook:
    """The book of money: of the fleet, else of the environment's database, else the file."""
    url = database.url()
    if fleet is None and url is None:
        return BudgetBook(workspace.logs / "budget.sqlite")
    from harness.record.budget_shared import SharedBook  # noqa: PLC0415 - fleets alone

    if fleet is None:
        return SharedBook(Database(url or "", TABLES), lambda: None)
    return SharedBook(fleet.database, lambda: fleet.holder)


def artifacts() -> ArtifactStore | None:
    """Through what results pass between machines; None where that is the workspace itself."""
    return open_store()


def store(folder: Path) -> str | Path:
    """Where a run's engine keeps its records, and the requests of people to it."""
    return database.url() or folder / "engine.sqlite"


def is_held(run: str) -> bool | None:
    """Whether a live process of the fleet holds the run; None where no database is named."""
    url = database.url()
    if url is None:
        return None
    book = Database(url, TABLES)
    try:
        return any(row[1] == run for row in sessions.live(book))
    finally:
        book.close()
