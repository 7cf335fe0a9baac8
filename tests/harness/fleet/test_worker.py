"""A worker as a program: what it says of the runs that it leaves alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.database import VARIABLE, Database
from harness.fleet.member import TABLES

RUNNER = Path(__file__).resolve().parents[3] / "harness" / "runner.py"


@pytest.mark.long
def test_a_run_whose_workspace_is_not_here_is_left_alone_and_that_is_said(
    database: str, tmp_path: Path
) -> None:
    shared = Database(database, TABLES)
    row = {"run": "run-1", "workspace": str(tmp_path / "not mounted")}
    shared.do(
        "INSERT INTO fibreflow_runs (run, workspace, standing) "
        "VALUES (:run, :workspace, 'working')",
        row,
    )
    worker = subprocess.Popen(
        [sys.executable, str(RUNNER), "worker"],
        env={**os.environ, VARIABLE: database},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    said = [worker.stdout.readline() for _ in range(2)]
    worker.send_signal(signal.SIGTERM)
    rest, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert f"leaves run run-1 alone: its workspace {row['workspace']} is not here" in said[1]
    assert rest == ""
    shared.close()
