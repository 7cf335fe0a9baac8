"""Approvals on a fleet's Postgres: one decision, of one workspace, whoever is first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from harness.approvals.store_shared import SharedApprovals
from harness.database import VARIABLE
from harness.fleet import books
from harness.planner import reviewing
from harness.record.workspace import Workspace
from tests.harness.agents.workbench import StepClock
from tests.harness.approvals.test_store import REQUEST, TEAM, says


def open_store(url: str, workspace: str = "/one") -> SharedApprovals:
    clock = StepClock()
    clock.time = 1500.0
    return SharedApprovals(url, Path(workspace), clock)


def test_two_at_once_give_one_decision_in_one_workspace(database: str) -> None:
    store = open_store(database)
    store.ask(REQUEST, TEAM)
    store.ask(REQUEST, TEAM)

    def answer(number: int) -> bool:
        if number == 3:
            store.withdraw("q1", "alice", "gone on")
            return False
        verdict, by = (("approved", "bob"), ("rejected", "carol"))[number % 2]
        return store.answer("q1", says(verdict, by)).counted

    with ThreadPoolExecutor(4) as pool:
        counted = sum(pool.map(answer, range(8)))
    other = open_store(database)
    (asked,) = other.all()
    assert asked.request == REQUEST
    assert asked.standing in ("approved", "rejected", "superseded")
    assert counted == (asked.standing != "superseded")
    assert other.secret() == store.secret()
    assert open_store(database, "/two").all() == []


def test_a_plan_is_asked_for_where_everybody_looks(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, database)
    reviewing.store(Workspace(tmp_path), StepClock()).ask(REQUEST, TEAM)
    assert [a.request for a in books.approvals(Workspace(tmp_path)).all()] == [REQUEST]
    assert not (tmp_path / "logs").exists()


def test_a_service_outlives_the_connections_that_the_server_has_ended(database: str) -> None:
    """As when Postgres was started anew."""
    store = open_store(database)
    store.ask(REQUEST, TEAM)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert store.answer("q1", says("approved", "bob")).counted
