"""A worker as a program: which runs it leaves alone, and that it says why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.database import VARIABLE, Database
from harness.fleet import program
from harness.fleet.claims import Claims
from harness.fleet.member import TABLES
from harness.record.workspace import Workspace

RUNNER = Path(__file__).resolve().parents[3] / "harness" / "runner.py"


@pytest.mark.long
def test_runs_that_are_not_here_or_of_another_version_are_left_alone_and_that_is_said(
    database: str, tmp_path: Path
) -> None:
    """Nor does it stand in for the process of the second, which is dead."""
    shared = Database(database, TABLES)
    row = {"run": "run-1", "workspace": str(tmp_path / "not mounted")}
    other = {"run": "run-2", "workspace": str(tmp_path), "version": "0.0.9+aaaaaaaaaaaa"}
    file = Workspace(tmp_path).run_file("run-2")
    file.parent.mkdir(parents=True)
    file.touch()
    shared.do(
        "INSERT INTO fibreflow_runs (run, workspace, standing) "
        "VALUES (:run, :workspace, 'working')",
        [row, other],
    )
    shared.do("INSERT INTO fibreflow_versions VALUES (:run, :version)", other)
    Claims(shared).insert("run-2", "attempt", {"run-2/f/r1-a01": ("haiku", [])}, 1)
    worker = subprocess.Popen(
        [sys.executable, str(RUNNER), "worker"],
        env={**os.environ, VARIABLE: database},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    said = [worker.stdout.readline() for _ in range(3)]
    worker.send_signal(signal.SIGTERM)
    rest, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    told = "".join(sorted(said[1:]))
    assert f"leaves run run-1 alone: its workspace {row['workspace']} is not here" in told
    assert f"leaves run run-2 alone: it belongs to FibreFlow {other['version']}, and" in told
    assert f"this worker is {program.version()}; install that version here" in told
    assert rest == ""
    assert shared.do("SELECT generation FROM fibreflow_work") == [(0,)]
    assert shared.do("SELECT stand_in FROM fibreflow_runs WHERE run = 'run-2'") == [(None,)]
    shared.close()
