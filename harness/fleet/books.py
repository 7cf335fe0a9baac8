"""The books of a run, each where it belongs: files of the workspace, or tables of the fleet.

Without `HARNESS_DATABASE_URL` everything is a file, and one process has the workspace. With it,
journal, money, queue, controls and approvals are tables, and files are copies for people.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from harness import database
from harness.approvals.store import ApprovalStore
from harness.artifacts.opening import open_store
from harness.database import Database
from harness.fleet import sessions
from harness.fleet.member import TABLES, Fleet, joined
from harness.fleet.standing import registered
from harness.ports import ArtifactStore, Clock
from harness.record.budget import BudgetBook
from harness.record.clock import SystemClock
from harness.record.journal import Journal
from harness.record.workspace import Workspace
from harness.record.workspace_lock import Sign
from orchestrator.cost import usd
from orchestrator.errors import MachineError

#: A process that lives gives a sign every second, once the database is back.
_PATIENCE_SECONDS = 2.5


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


def sums(workspace: Workspace) -> tuple[float, float] | None:
    """Dollars spent by all runs of the workspace, and kept for calls of unknown cost; None when
    no book was ever opened."""
    shared = database.url() is not None
    if not shared and not (workspace.logs / "budget.sqlite").is_file():
        return None
    book = budget(workspace)
    try:
        if not shared:
            return book.sums("run ")
        # Other workspaces have runs in the same book.
        found = [book.balance(f"run {run.id}") for run in workspace.runs()]
        return usd(sum(b.spent for b in found)), usd(sum(b.unknown for b in found))
    finally:
        book.close()


def approvals(workspace: Workspace, clock: Clock | None = None) -> ApprovalStore:
    """Requests for approval, and their answers. `clock`: the system's where none is given."""
    url, clock = database.url(), clock or SystemClock()
    if url is None:
        return ApprovalStore(workspace.logs / "approvals.sqlite", clock)
    from harness.approvals.store_shared import SharedApprovals  # noqa: PLC0415 - fleets alone

    return SharedApprovals(url, workspace.root, clock)


def fenced_off(session: str) -> bool:
    """Whether the process of a fleet that had this session can write nothing any more, be it
    dead or frozen. Raises `MachineError` when the database cannot be asked."""
    url = database.url()
    if url is None:
        return False
    book = Database(url, TABLES)
    try:
        return sessions.fence_off(book, session, patience=_PATIENCE_SECONDS)
    finally:
        book.close()


@contextlib.asynccontextmanager
async def held(
    workspace: Workspace, run: str, sign: Sign, *, places: int
) -> AsyncIterator[tuple[Journal, Fleet | None]]:
    """A run's journal, while this process holds the run; from the first moment on, others of the
    fleet go on with it when this process dies. `sign`: puts down who has the workspace. Raises
    `WorkspaceLockedError` when another holds the run."""
    async with joined(places=places, run=run) as fleet:
        sign(run, (fleet.holder or "") if fleet is not None else "")
        try:
            with contextlib.closing(journal(workspace, run, fleet)) as opened:
                async with registered(fleet, run, workspace):
                    yield opened, fleet
        finally:
            # Before the session ends: who has ended it is not dead, and may go on to deploy.
            sign(run, "")


@contextlib.asynccontextmanager
async def to_write(workspace: Workspace, run: str) -> AsyncIterator[tuple[Journal, Fleet | None]]:
    """A run's journal for a person's decision, while no process is at work on the run. Raises
    `WorkspaceLockedError` when one is, on any machine."""
    async with joined(places=0, run=run) as fleet:
        with contextlib.closing(journal(workspace, run, fleet)) as opened:
            yield opened, fleet


def store(folder: Path) -> str | Path:
    """Where a run's engine keeps its records, and the requests of people to it."""
    return database.url() or folder / "engine.sqlite"


def is_held(run: str) -> bool | None:
    """Whether a live process of the fleet holds the run; None where no database is named, or it
    does not answer: files can still be looked at."""
    url = database.url()
    if url is None:
        return None
    try:
        book = Database(url, TABLES)
    except MachineError:
        return None
    try:
        return any(row[1] == run for row in sessions.live(book))
    finally:
        book.close()
