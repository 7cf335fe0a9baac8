"""The journal and the money of a fleet: what one writes all see, and the dead write nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.database import Database
from harness.fleet import sessions
from harness.fleet.claims import Claims
from harness.fleet.member import TABLES
from harness.record import budget_shared, taken
from harness.record.budget import BudgetBook
from harness.record.budget_shared import SharedBook
from harness.record.clock import SystemClock
from harness.record.journal import read_events
from harness.record.journal_shared import SharedJournal, WorkersJournal
from harness.record.taken import Taken
from orchestrator import events
from orchestrator.errors import TakenOverError

RUN = "run-1"


@pytest.fixture
def shared(database: str) -> Iterator[Database]:
    made = Database(database, TABLES)
    yield made
    made.close()


def open_journal(shared: Database, path: Path, holder: str) -> SharedJournal:
    return SharedJournal(path / "events.jsonl", RUN, SystemClock(), shared, lambda: holder)


def open_workers(shared: Database, path: Path, session: str) -> WorkersJournal:
    return WorkersJournal(path / "none.jsonl", RUN, SystemClock(), shared, lambda: session)


def began(feature: str) -> events.Event:
    return events.FeatureStarted(feature=feature)


def test_all_write_one_book_and_the_holder_keeps_the_file(shared: Database, tmp_path: Path) -> None:
    holder = sessions.begin(shared, places=0, run=RUN)
    journal = open_journal(shared, tmp_path, holder)
    worker = open_workers(shared, tmp_path, sessions.begin(shared, places=1))
    heard: list[events.Event] = []
    told: list[events.Event] = []
    journal.listen(heard.append)
    worker.listen(told.append)
    assert journal.write(began("a"))
    assert worker.write(began("b"))
    assert not worker.write(began("a"))
    assert not journal.write(began("b"))
    assert worker.has("FeatureStarted/a")
    assert journal.has("FeatureStarted/b")
    journal.catch_up()
    assert [e.feature for e in heard] == [e.feature for e in told] == ["a", "b"]
    assert [e.feature for e in read_events(journal.path)] == ["a", "b"]
    assert not (tmp_path / "none.jsonl").exists()
    journal.close()


def test_a_listener_that_writes_is_heard_after_what_it_heard(
    shared: Database, tmp_path: Path
) -> None:
    holder = sessions.begin(shared, places=0, run=RUN)
    journal = open_journal(shared, tmp_path, holder)
    heard: list[str] = []

    def listen(event: events.Event) -> None:
        heard.append(event.key or "")
        if event.feature == "a":
            journal.write(began("b"))

    journal.listen(listen)
    journal.write(began("a"))
    assert heard == ["FeatureStarted/a", "FeatureStarted/b"]
    journal.close()


def test_file_and_rows_are_made_the_same_at_the_next_start(
    shared: Database, tmp_path: Path
) -> None:
    holder = sessions.begin(shared, places=0, run=RUN)
    journal = open_journal(shared, tmp_path, holder)
    journal.write(began("a"))
    journal.close()
    worker = open_workers(shared, tmp_path, sessions.begin(shared, places=1))
    worker.write(began("b"))  # while nobody held the run
    with journal.path.open("ab") as file:
        file.write(b'{"type":"Feat')
    again = open_journal(shared, tmp_path, holder)
    again.close()
    on_file = read_events(journal.path)
    assert [e.feature for e in on_file[:2]] == ["a", "b"]
    assert [e.type for e in on_file[2:]] == ["WarningGiven"]
    shared.do("DELETE FROM fibreflow_events")  # the database was lost
    restored = open_journal(shared, tmp_path, holder)
    assert restored.has("FeatureStarted/b")
    assert not restored.write(began("a"))
    assert len(read_events(journal.path)) == 3
    restored.close()


def test_no_event_of_an_attempt_that_was_taken_over(shared: Database, tmp_path: Path) -> None:
    holder, dead = sessions.begin(shared, places=0, run=RUN), sessions.begin(shared, places=1)
    journal = open_journal(shared, tmp_path, holder)
    token = taken.current.set(Taken(dead, 1))
    try:
        assert journal.write(began("a"))
        sessions.end(shared, [dead], Claims(shared).give_back)
        with pytest.raises(TakenOverError, match="took over"):
            journal.write(began("b"))
    finally:
        taken.current.reset(token)
    assert journal.write(began("b"))
    journal.close()


def test_a_holder_that_was_taken_over_tells_nobody_and_its_file_is_nobodys(
    shared: Database, tmp_path: Path
) -> None:
    frozen = sessions.begin(shared, places=0, run=RUN)
    thawed = open_journal(shared, tmp_path, frozen)
    thawed.write(began("a"))
    heard: list[events.Event] = []
    thawed.listen(heard.append)
    sessions.end(shared, [frozen], Claims(shared).give_back)
    journal = open_journal(shared, tmp_path, sessions.begin(shared, places=0, run=RUN))
    journal.write(began("b"))
    thawed.catch_up()
    with pytest.raises(TakenOverError):
        thawed.write(began("c"))
    assert not thawed.stands()
    assert journal.stands()
    thawed._append(events.to_json(began("late")), sync=False)  # what it was about to append
    assert heard == []
    assert [e.feature for e in read_events(journal.path)] == ["a", "b"]
    thawed.close()
    journal.close()


# -------------------------------------------------------------------------- money


@pytest.fixture(params=["file", "postgres"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BudgetBook]:
    if request.param == "file":
        made = BudgetBook(tmp_path / "budget.sqlite")
        yield made
        made.close()
    else:
        yield SharedBook(request.getfixturevalue("shared"), lambda: None)


def test_the_same_sums_on_a_file_and_on_postgres(book: BudgetBook) -> None:
    scopes = [("run 1", 1.0), ("month", None)]
    assert book.reserve(scopes, "k1", 0.6) is None
    refused = book.reserve(scopes, "k2", 0.6)
    assert refused is not None
    assert refused.temporary
    book.settle("k1", 0.25)
    book.settle("k1", 9.0)  # once
    assert (book.spent("run 1"), book.held("run 1")) == (0.25, 0.0)
    assert book.reserve(scopes, "k2", 0.5) is None
    book.settle("k2", None)
    assert (book.spent("month"), book.held("month")) == (0.25, 0.5)
    assert book.reserve(scopes, "k3", 0.1) is None
    book.release("k3")
    assert book.reserve(scopes, "k4", 0.1) is None
    assert book.abandon("run 1") == 0.1
    assert book.sums("run ") == (0.25, 0.6)
    assert book.reserve([("run 1", 1.0)], "k5", None) is not None


def test_money_of_the_dead_is_unknown_and_they_can_reserve_no_more(shared: Database) -> None:
    dead = sessions.begin(shared, places=1)
    claims = Claims(shared)
    claims.insert(RUN, "attempt", {"run-1/f/r1-a01": ("haiku", [])}, 1)
    claims.take(dead, 1)
    book = SharedBook(shared, lambda: dead)
    scopes = [("attempt run-1/f/r1-a01", None), ("run run-1", 1.0)]
    assert book.reserve(scopes, "run-1/f/r1-a01/1", 0.75) is None

    def give_back(connection: object, gone: list[str]) -> None:
        budget_shared.abandon(connection, gone)  # type: ignore[arg-type]
        claims.give_back(connection, gone)  # type: ignore[arg-type]

    sessions.end(shared, [dead], give_back)
    balance = book.balance("run run-1")
    assert (balance.held, balance.unknown) == (0, 750_000_000)
    with pytest.raises(TakenOverError):
        book.reserve(scopes, "run-1/f/r1-a01/2", 0.1)
    book.settle("run-1/f/r1-a01/1", 0.1)  # thawed: what is unknown stays so
    assert book.balance("run run-1").unknown == 750_000_000
