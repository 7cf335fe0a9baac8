"""A worker as a program: which runs it leaves alone, and that it says why."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.flags import RunOptions
from harness.database import VARIABLE, Database
from harness.fleet import program, sessions
from harness.fleet.claims import Claims
from harness.fleet.member import TABLES, joined
from harness.fleet.standing import registered
from harness.fleet.worker import Worker
from harness.git import Repository
from harness.record.workspace import Workspace
from harness.run_file import RunFile, plain
from orchestrator.errors import MachineError
from tests.spine.project import until

RUNNER = Path(__file__).resolve().parents[3] / "harness" / "runner.py"


@pytest.mark.long
def test_runs_that_it_cannot_work_on_are_left_alone_and_that_is_said(
    database: str, tmp_path: Path
) -> None:
    """One is not here, one of another version, whose dead process it does not stand in for, and
    one cannot be opened here: its attempt is given back, and not to blame."""
    shared = Database(database, TABLES)
    row = {"run": "run-1", "workspace": str(tmp_path / "not mounted")}
    other = {"run": "run-2", "workspace": str(tmp_path), "version": "0.0.9+aaaaaaaaaaaa"}
    third = {"run": "run-3", "workspace": str(tmp_path)}
    for run in ("run-2", "run-3"):
        file = Workspace(tmp_path).run_file(run)
        file.parent.mkdir(parents=True)
        file.touch()
    shared.do(
        "INSERT INTO fibreflow_runs (run, workspace, standing) "
        "VALUES (:run, :workspace, 'working')",
        [row, other, third],
    )
    sessions.begin(shared, places=0, run="run-3")
    shared.do("INSERT INTO fibreflow_versions VALUES (:run, :version)", other)
    for run in ("run-2", "run-3"):
        work = ("haiku", [["f", 1, 1], "c" * 40, "haiku"])
        Claims(shared).insert(run, "attempt", {f"{run}/f/r1-a01": work}, 1)
    worker = subprocess.Popen(
        [sys.executable, str(RUNNER), "worker"],
        env={**os.environ, VARIABLE: database},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    said = [worker.stdout.readline() for _ in range(4)]
    waiting = "SELECT run, outcome FROM fibreflow_work WHERE session IS NULL ORDER BY run"
    until(lambda: len(shared.do(waiting)) == 2, "it is given back")
    worker.send_signal(signal.SIGTERM)
    rest, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    told = "".join(sorted(said[1:]))
    assert f"leaves run run-1 alone: its workspace {row['workspace']} is not here" in told
    assert f"leaves run run-2 alone: it belongs to FibreFlow {other['version']}, and" in told
    assert f"this worker is {program.version()}; install that version here" in told
    assert f"leaves run run-3 alone: it cannot be worked on from here ({file}: cannot be" in told
    assert rest == ""
    assert shared.do(waiting) == [("run-2", None), ("run-3", None)]
    assert shared.do("SELECT generation FROM fibreflow_work WHERE run = 'run-2'") == [(0,)]
    assert shared.do("SELECT stand_in FROM fibreflow_runs WHERE run = 'run-2'") == [(None,)]
    shared.close()


@pytest.mark.long
async def test_without_a_key_of_its_own_it_leaves_and_no_attempt_is_to_blame(
    database: str, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, database)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    body = {
        "project": {"repo": str(repository.path)},
        "features": [{"id": "f", "description": "f", "acceptance": ["true"]}],
    }
    (tmp_path / "feature_list.json").write_text(json.dumps(body), encoding="utf-8")
    options = RunOptions(tmp_path, tmp_path / "feature_list.json", live=True)
    RunFile("", plain(options), [], {}).store(Workspace(tmp_path).run_file("run-1"))
    async with joined(places=1, run="run-1") as fleet:
        assert fleet is not None
        async with registered(fleet, "run-1", Workspace(tmp_path)):
            work = ("haiku", [["f", 1, 1], "c" * 40, "haiku"])
            fleet.claims.insert("run-1", "attempt", {"run-1/f/r1-a01": work}, 1)
            async with contextlib.AsyncExitStack() as stack:
                worker = Worker(fleet, 1)
                stack.push_async_callback(worker.close)
                with pytest.raises(MachineError, match="ANTHROPIC_API_KEY"):
                    await asyncio.wait_for(worker.until_told(), 60)
            assert fleet.claims.known("run-1") == {}
