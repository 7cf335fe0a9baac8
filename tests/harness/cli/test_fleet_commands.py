"""`fibreflow fleet` and `worker`: what they refuse, and what they show and set."""

import json

import pytest

from harness import runner
from harness.database import VARIABLE, Database
from harness.fleet import sessions
from harness.fleet.claims import Claims
from harness.fleet.member import TABLES
from harness.record.budget_shared import SharedBook
from harness.record.clock import SystemClock
from harness.record.workspace import new_run_id

OLD = "20200101-000000-aaaa"
NEW = new_run_id(SystemClock().now(), "cccc")


@pytest.mark.parametrize("command", ["worker", "fleet"])
def test_without_a_database_both_say_which_variable_names_it(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert runner.main([command]) == 2
    assert VARIABLE in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://x/y", "must begin with postgresql://"),
     ("postgresql://u:hunter2@127.0.0.1:1/x", "127.0.0.1:1/x: cannot be used")],
)  # fmt: skip
def test_a_database_that_cannot_be_used_is_this_machines(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    assert runner.main(["worker"]) == 5
    err = capsys.readouterr().err
    assert said in err
    assert "hunter2" not in err


@pytest.mark.parametrize("limit", ["all", "gpt=3", "all=-1", "opus=many"])
def test_what_is_no_limit_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["fleet", "--limit", limit]) == 2
    assert "no limit such as all=200" in capsys.readouterr().err


def test_a_fleet_is_shown_and_limited(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, database)
    assert runner.main(["fleet"]) == 0
    assert "nobody is at work" in capsys.readouterr().out
    shared = Database(database, TABLES)
    sessions.begin(shared, places=0, run="run-1")
    worker = sessions.begin(shared, places=7)
    claims = Claims(shared)
    claims.insert("run-1", "attempt", {f"run-1/f/{n}": ("opus", []) for n in "abc"}, 1)
    claims.take(worker, 1)
    assert claims.is_at_work("run-1")
    assert not claims.is_at_work("run-2")
    assert runner.main(["fleet", "--limit", "all=9", "--limit", "opus=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {(p["run"], p["places"]) for p in found["processes"]} == {("run-1", 0), (None, 7)}
    assert found["work"] == [
        {"run": "run-1", "standing": None, "tier": "opus", "at_work": 1, "waiting": 2}
    ]
    assert found["limits"] == {"all": 9, "opus": 2}
    assert runner.main(["fleet", "--limit", "all=none"]) == 0
    said = capsys.readouterr().out
    assert "takes up to 7 attempts" in said
    assert "FibreFlow" not in said
    shared.do("UPDATE fibreflow_sessions SET version = '0.0.9+aaaa' WHERE run IS NULL")
    assert runner.main(["fleet"]) == 0
    mixed = capsys.readouterr().out
    assert "takes up to 7 attempts (FibreFlow 0.0.9+aaaa)" in mixed
    assert "of several versions" in mixed
    assert "limit opus: 2" in said
    assert "limit all" not in said
    shared.close()


def test_what_is_over_for_long_is_forgotten_but_for_money(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, database)
    shared = Database(database, TABLES)
    for run, standing in ((OLD, "ended"), ("20200102-000000-bbbb", "stopped"), (NEW, "ended")):
        values = {"run": run, "standing": standing}
        shared.do(
            "INSERT INTO fibreflow_runs (run, workspace, standing) VALUES (:run, '', :standing)",
            values,
        )
        shared.do("INSERT INTO fibreflow_events (run, body) VALUES (:run, '{}')", values)
    money = SharedBook(shared, lambda: None)
    money.reserve([(f"run {OLD}", None)], "k", 0.5)
    money.settle("k", 0.25)
    assert runner.main(["fleet", "--forget", "30", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forgotten"] == [OLD]
    assert runner.main(["fleet", "--forget", "30"]) == 0
    assert "0 runs forgotten" in capsys.readouterr().out
    for table in ("fibreflow_runs", "fibreflow_events"):
        assert {row[0] for row in shared.do(f"SELECT run FROM {table}")} == {
            "20200102-000000-bbbb", NEW
        }  # fmt: skip
    assert money.spent(f"run {OLD}") == 0.25
    shared.close()
