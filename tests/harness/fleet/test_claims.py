"""The queue of attempts, on a file and on Postgres alike; and what only many processes need."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from harness import engine_store
from harness.database import Database, execute
from harness.fleet import program, sessions
from harness.fleet.claims import TABLES, Claims
from harness.fleet.member import TABLES as ALL_TABLES
from orchestrator.errors import MachineError, TakenOverError, WorkspaceLockedError

if TYPE_CHECKING:
    from sqlalchemy import Connection

RUN = "run-1"
T = TypeVar("T")


@pytest.fixture(params=["file", "postgres"])
def claims(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Claims]:
    if request.param == "file":
        database = Database(tmp_path / "engine.sqlite", TABLES)
    else:
        database = Database(request.getfixturevalue("database"), ALL_TABLES)
    yield Claims(database)
    database.close()


def session(claims: Claims) -> str:
    return sessions.begin(claims.database, places=9) if claims.database.shared else "runner"


def queue(claims: Claims, run: str, *names: str, priority: int = 5, tier: str = "haiku") -> None:
    work = {f"{run}/{n}": (tier, [n, 1]) for n in names}
    claims.insert(run, "attempt", work, priority)


def test_taken_in_order_once_and_ended_once(claims: Claims) -> None:
    me = session(claims)
    queue(claims, RUN, "f/a", "f/b", "f/c")
    queue(claims, RUN, "f/a", priority=1)  # there already
    queue(claims, RUN, "g/a", priority=1)
    first = claims.take(me, 2)
    assert [c.id for c in first] == ["run-1/g/a", "run-1/f/a"]
    assert first[1].args == ("f/a", 1)
    assert first[1].generation == 1
    assert [c.id for c in claims.take(me, 9)] == ["run-1/f/b", "run-1/f/c"]
    assert claims.take(me, 9) == []
    claims.end(me, {"run-1/f/a": ({"value": 1}, 1)}, told=False)
    claims.end(me, {"run-1/f/a": ({"value": 2}, 1)}, told=False)
    assert claims.news(RUN) == {"run-1/f/a": ({"value": 1}, 1)}
    assert claims.news(RUN) == {}
    assert claims.known(RUN) == {"run-1/f/a": ({"value": 1}, 1)}
    assert claims.standing(me) == {"run-1/f/b", "run-1/f/c", "run-1/g/a"}


class Unheard(Database):
    """Every transaction is done, and done again, for nobody heard that it was."""

    def run(self, work: Callable[["Connection"], T]) -> T:
        super().run(work)
        return super().run(work)


@pytest.mark.parametrize("place", ["file", "postgres"])
def test_what_is_done_without_being_heard_is_not_lost_when_it_is_done_again(
    request: pytest.FixtureRequest, tmp_path: Path, place: str
) -> None:
    """The server dies between a commit and its answer: attempts would be nobody's, and ends would
    be told to nobody."""
    shared = place == "postgres"
    store = request.getfixturevalue("database") if shared else tmp_path / "engine.sqlite"
    unheard = Claims(Unheard(store, ALL_TABLES if shared else TABLES))
    if shared:
        sessions.begin(unheard.database, places=0, run=RUN)
    me = session(unheard)
    queue(unheard, RUN, "f/a", "f/b", "f/c")
    taken = unheard.take(me, 2)
    assert [(c.id, c.generation) for c in taken] == [("run-1/f/a", 1), ("run-1/f/b", 1)]
    assert unheard.standing(me) == {"run-1/f/a", "run-1/f/b"}
    unheard.end(me, {"run-1/f/a": ({"value": 1}, 1)}, told=False)
    assert unheard.news(RUN) == {"run-1/f/a": ({"value": 1}, 1)}
    assert unheard.news(RUN) == {}
    unheard.database.close()


def test_what_is_cancelled_is_not_taken_and_its_end_does_not_count(claims: Claims) -> None:
    me = session(claims)
    queue(claims, RUN, "f/a", "f/b")
    claims.take(me, 1)
    claims.cancel(["run-1/f/a", "run-1/f/b"])
    assert claims.take(me, 9) == []
    claims.end(me, {"run-1/f/a": ({"value": 1}, 1)}, told=False)
    assert {outcome["cancelled"] for outcome, _ in claims.known(RUN).values()} == {True}
    assert claims.standing(me) == set()


def test_what_was_at_work_waits_again_and_goes_first(claims: Claims) -> None:
    me = session(claims)
    queue(claims, RUN, "f/a", "f/b", priority=5)
    claims.take(me, 1)
    if claims.database.shared:
        claims.release(me, ["run-1/f/a"])
    else:
        claims.reopen(RUN)
    queue(claims, RUN, "f/now", priority=1)
    assert [(c.id, c.generation) for c in claims.take(me, 2)] == [
        ("run-1/f/a", 2), ("run-1/f/now", 1),
    ]  # fmt: skip


def test_limits_are_those_of_the_tables(claims: Claims) -> None:
    me = session(claims)
    do = claims.database.do
    do("INSERT INTO fibreflow_limits VALUES ('all', 3), ('opus', 1)")
    for run, standing in (("run-1", "working"), ("run-2", "held"), ("run-3", "working")):
        do("INSERT INTO fibreflow_runs (run, workspace, standing) VALUES (:run, '/w', :standing)",
           {"run": run, "standing": standing})  # fmt: skip
    queue(claims, RUN, "f/a", "f/b", "f/c", tier="opus")
    queue(claims, "run-2", "f/a")
    queue(claims, "run-3", "f/a", "f/b", "f/c")
    claims.limit_run("run-3", 1)
    assert {c.id for c in claims.take(me, 9)} == {"run-1/f/a", "run-3/f/a"}
    assert claims.take(me, 9) == []
    do("UPDATE fibreflow_limits SET value = 9")
    assert [c.id for c in claims.take(me, 9, ["run-3"])] == []
    claims.limit_run("run-3", 9)
    assert [c.id for c in claims.take(me, 1, ["run-3"])] == ["run-3/f/b"]
    assert set(claims.runs()) == {"run-1", "run-2", "run-3"}


# ------------------------------------------------------------------ many processes


@pytest.fixture
def shared(database: str) -> Iterator[Claims]:
    made = Database(database, ALL_TABLES)
    yield Claims(made)
    made.close()


def grow_old(claims: Claims, id_: str) -> None:
    claims.database.do(
        "UPDATE fibreflow_sessions SET seen = seen - make_interval(secs => 60) WHERE id = :id",
        {"id": id_},
    )


def test_the_dead_lose_their_work_and_may_write_nothing_more(shared: Claims) -> None:
    dead, alive = session(shared), session(shared)
    queue(shared, RUN, "f/a", "f/b")
    shared.take(dead, 1)
    shared.take(alive, 1)
    assert sessions.reap(shared.database, shared.give_back) == []
    grow_old(shared, dead)
    assert sessions.reap(shared.database, shared.give_back) == [dead]
    assert sessions.beat(shared.database, [dead, alive])[0] == {dead}
    with pytest.raises(TakenOverError, match="gave no sign"):
        shared.end(dead, {"run-1/f/a": ({"value": 1}, 1)}, told=False)
    with pytest.raises(TakenOverError):
        shared.take(dead, 1)
    taken = shared.take(alive, 1)
    assert [(c.id, c.generation) for c in taken] == [("run-1/f/a", 2)]
    shared.end(alive, {"run-1/f/a": ({"value": 2}, 2)}, told=False)
    assert shared.news(RUN) == {"run-1/f/a": ({"value": 2}, 2)}


def test_a_sign_from_before_the_databases_clock_was_set_back_is_none(shared: Claims) -> None:
    dead, alive = session(shared), session(shared)
    shared.database.do(
        "UPDATE fibreflow_sessions SET seen = seen + make_interval(hours => 1) WHERE id = :id",
        {"id": dead},
    )
    assert [row[0] for row in sessions.live(shared.database)] == [alive]
    assert sessions.reap(shared.database, shared.give_back) == [dead]


def test_a_process_that_leaves_gives_its_work_back_at_once(shared: Claims) -> None:
    leaving, other = session(shared), session(shared)
    queue(shared, RUN, "f/a")
    shared.take(leaving, 1)
    assert shared.take(other, 1) == []
    sessions.end(shared.database, [leaving], shared.give_back)
    assert [c.generation for c in shared.take(other, 1)] == [2]


def test_a_run_is_held_by_one_process_until_it_is_dead(shared: Claims) -> None:
    holder = sessions.begin(shared.database, places=0, run=RUN)
    with pytest.raises(WorkspaceLockedError, match="is at work on it"):
        sessions.begin(shared.database, places=0, run=RUN)
    # Of another machine of the same name, whose processes nobody can look for here.
    gone = subprocess.Popen(["true"])
    gone.wait()
    elsewhere = holder.rpartition("-")[0] + "-0123456789abcdef"
    shared.database.do(
        "UPDATE fibreflow_sessions SET id = :id, pid = :pid", {"id": elsewhere, "pid": gone.pid}
    )
    with pytest.raises(WorkspaceLockedError):
        sessions.begin(shared.database, places=0, run=RUN)
    shared.database.do("UPDATE fibreflow_sessions SET id = :id, pid = 1", {"id": holder})
    grow_old(shared, holder)
    assert sessions.reap(shared.database, shared.give_back) == []  # a run is for whoever asks
    successor = sessions.begin(shared.database, places=0, run=RUN)
    assert sessions.beat(shared.database, [holder, successor])[0] == {holder}
    assert [row[1] for row in sessions.live(shared.database)] == [RUN]


def test_a_run_is_free_at_once_when_its_holder_was_killed_here(shared: Claims) -> None:
    killed = sessions.begin(shared.database, places=0, run=RUN)
    gone = subprocess.Popen(["true"])
    gone.wait()
    shared.database.do("UPDATE fibreflow_sessions SET pid = :pid", {"pid": gone.pid})
    successor = sessions.begin(shared.database, places=0, run=RUN)
    assert sessions.beat(shared.database, [killed, successor])[0] == {killed}


def test_what_only_the_holder_may_do_is_refused_to_one_that_was_taken_over(
    shared: Claims, database: str
) -> None:
    """Also by the engine, all of whose transactions begin so."""
    frozen = sessions.begin(shared.database, places=0, run=RUN)

    def prove(connection: Any) -> None:
        sessions.require(connection, frozen)

    own = Claims(shared.database.behind(prove))
    store = engine_store.open_store(database)
    engine_store.put_behind(store, prove)
    queue(own, RUN, "f/a")
    with store.begin() as connection:
        execute(connection, "UPDATE fibreflow_work SET priority = 2")
    assert not sessions.fence_off(shared.database, frozen, patience=0.0)
    grow_old(shared, frozen)
    assert sessions.fence_off(shared.database, frozen, patience=0.0)
    with pytest.raises(TakenOverError):
        own.news(RUN)
    with pytest.raises(TakenOverError):
        own.cancel(["run-1/f/a"])
    with pytest.raises(TakenOverError):
        queue(own, RUN, "f/b")
    with pytest.raises(TakenOverError), store.begin() as connection:
        execute(connection, "DELETE FROM fibreflow_work")
    store.dispose()
    assert [c.id for c in shared.take(session(shared), 9)] == ["run-1/f/a"]


def test_a_run_is_taken_by_processes_of_its_own_version(shared: Claims) -> None:
    """Decided where it is taken: a process of another may have gone on with it just now."""
    me = session(shared)
    do = shared.database.do
    for run, version in (("ours", program.version()), ("others", "0.0.9+aaaa"), ("nobody", None)):
        values = {"run": run, "version": version}
        do("INSERT INTO fibreflow_runs (run, workspace, standing) VALUES (:run, '', 'working')",
           values)  # fmt: skip
        if version is not None:
            do("INSERT INTO fibreflow_versions VALUES (:run, :version)", values)
        queue(shared, run, "f/a")
    assert {c.run for c in shared.take(me, 9, ["ours", "others", "nobody"])} == {"ours", "nobody"}
    do("UPDATE fibreflow_versions SET version = :version", {"version": program.version()})
    assert [c.run for c in shared.take(me, 9)] == ["others"]


def test_a_database_of_before_versions_were_told_goes_on(database: str) -> None:
    old = Database(database, ALL_TABLES)
    old.do("ALTER TABLE fibreflow_sessions DROP COLUMN version")
    old.close()
    new = Database(database, ALL_TABLES)
    sessions.begin(new, places=1)
    assert [row[5] for row in sessions.live(new)] == [program.version()]
    new.close()


def test_a_frozen_transaction_is_ended_by_the_server(shared: Claims) -> None:
    """Its locks would keep everybody from declaring it dead."""
    (limit,) = shared.database.do("SHOW idle_in_transaction_session_timeout")
    assert limit[0] == "5s"


def test_a_database_that_cannot_be_reached_is_named_without_its_password() -> None:
    with pytest.raises(MachineError, match=r"127\.0\.0\.1:1/x: cannot") as found:
        Database("postgresql://u:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(found.value)
