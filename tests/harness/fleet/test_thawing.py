"""A process that was frozen thaws: what it meets then ends no run, and no worker."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import attempt, attempt_result
from harness.database import VARIABLE, Database
from harness.fleet import books, sessions
from harness.fleet.claims import Claims
from harness.fleet.member import TABLES
from harness.git import Repository
from harness.ports import Base
from harness.record import taken
from harness.record.clock import SystemClock
from harness.record.journal_shared import WorkersJournal
from harness.record.taken import Taken
from harness.record.workspace import Workspace
from orchestrator.errors import SandboxUnavailableError, TakenOverError, WorkspaceLockedError
from orchestrator.values import AttemptKey, AttemptResult, Feature, Verification
from tests.fakes.services import services
from tests.harness.test_attempt import GIVEN, KEY, Checks

RUN = "run-1"


@pytest.fixture
def shared(database: str) -> Iterator[Database]:
    made = Database(database, TABLES)
    yield made
    made.close()


@pytest.fixture
def dead(shared: Database) -> Iterator[str]:
    """The session under which the attempt at hand was taken; the test removes it."""
    made = sessions.begin(shared, places=1)
    token = taken.current.set(Taken(made, 1))
    yield made
    taken.current.reset(token)


def removed(shared: Database, session: str) -> None:
    sessions.end(shared, [session], Claims(shared).give_back)


def journal_of(shared: Database) -> WorkersJournal:
    """Of a worker that has begun another session since."""
    now = sessions.begin(shared, places=1)
    return WorkersJournal(Path("none.jsonl"), RUN, SystemClock(), shared, lambda: now)


class Frozen(Checks):
    """Thaws in the middle of a verification, with nothing of it left on the machine."""

    def __init__(self, shared: Database, session: str | None) -> None:
        super().__init__(0)
        self._shared = shared
        self._session = session

    async def patch(
        self, key: AttemptKey, feature: Feature, base: Base, patch: bytes
    ) -> Verification:
        if self._session is not None:
            removed(self._shared, self._session)
        raise SandboxUnavailableError("the folder of the sandboxes is gone")


@pytest.mark.parametrize("frozen", [True, False])
async def test_an_error_of_the_machine_counts_only_while_the_work_is_its_own(
    tmp_path: Path, repository: Repository, shared: Database, dead: str, frozen: bool
) -> None:
    checks = Frozen(shared, dead if frozen else None)
    wired = services(tmp_path, GIVEN, repository, journal_of(shared), checks)
    folder = wired.attempt_folder(KEY)
    attempt_result.store(
        folder, AttemptResult(KEY, "submitted", "done", patch=attempt_result.PATCH)
    )
    (folder / attempt_result.PATCH).write_bytes(b"the patch")
    commit = await repository.commit_of("main")
    assert commit is not None
    playing = attempt.run_attempt(wired, KEY, commit, "haiku")
    if frozen:
        with pytest.raises(TakenOverError):
            await asyncio.wait_for(playing, 30)
        assert wired.stop.reason is None
        return
    task = asyncio.create_task(playing)
    async with asyncio.timeout(30):
        await wired.stop.drained()
    task.cancel()
    assert (wired.stop.reason, wired.stop.exit_code) == ("the folder of the sandboxes is gone", 5)


async def test_a_base_is_prepared_for_all_who_ask_not_for_the_first_of_them(
    tmp_path: Path, repository: Repository, shared: Database, dead: str
) -> None:
    """The first was taken over; the second, of another session, waits for the same base."""
    wired = services(tmp_path, GIVEN, repository, journal_of(shared), Checks(0))
    commit = await repository.commit_of("main")
    assert commit is not None
    removed(shared, dead)
    assert (await wired.bases.of(commit)).commit == commit


def test_a_connection_that_is_lost_at_the_start_is_no_wrong_address(database: str) -> None:
    """As after a freeze of more than five seconds, when the server has ended what stood idle."""
    before = Database(database, ["CREATE SEQUENCE tries"])
    before.close()
    lost_once = (
        "SELECT CASE nextval('tries') WHEN 1 THEN pg_terminate_backend(pg_backend_pid()) END"
    )
    opened = Database(database, [lost_once])
    assert opened.do("SELECT last_value FROM tries") == [(2,)]
    opened.close()


async def test_who_has_ended_its_run_and_deploys_keeps_the_workspace(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session has ended in order, which is no sign of death."""
    monkeypatch.setenv(VARIABLE, database)
    space = Workspace(tmp_path)
    with space.lock(books.fenced_off) as sign:
        async with books.held(space, RUN, sign, places=1):
            assert (held := space.holder()) is not None and held.run == RUN
        with pytest.raises(WorkspaceLockedError), space.lock(books.fenced_off):
            pass
