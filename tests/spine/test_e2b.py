"""A small run in E2B's sandboxes, from the command line to the branch, against the emulator."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulators.e2b import E2BServer
from tests.spine.project import Project

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_run_in_the_cloud(make: Callable[..., Project], e2b_cloud: E2BServer) -> None:
    project = make(sandbox="e2b")
    project.simple("alpha")
    end = project.run()
    assert end.code == 0, end
    assert project.merged() == ["alpha"]
    used = project.events("SandboxUsed")
    assert "alpha.r1-a01" in {event["sandbox"] for event in used}
    spent = sum(event["cost_usd"] for event in used)
    assert spent > 0
    assert project.report()["cost_usd"] == pytest.approx(spent)
    # Nothing of the run is left to be paid for, or to be kept.
    run = project.runs[-1]
    left = [
        b for b in e2b_cloud.cloud.live() if b.body["metadata"].get("fibreflow_namespace") == run
    ]
    assert left == []


def autopilot(*settings: str) -> list[str]:
    """What `make autopilot` starts."""
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "autopilot", *settings],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return shlex.split(made.stdout.splitlines()[-1])[1:]


def test_make_says_where_attempts_run() -> None:
    assert autopilot("SANDBOX=e2b")[-2:] == ["--sandbox", "e2b"]
    assert autopilot()[-2:] == ["--sandbox", "local"]


@pytest.mark.slow
def test_the_demo_in_the_cloud(tmp_path: Path, e2b_cloud: E2BServer) -> None:
    """`make autopilot SANDBOX=e2b`: the same ten features, merged."""
    shutil.copy(ROOT / "feature_list.json", tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    program, *words = autopilot("SANDBOX=e2b")
    done = subprocess.run(
        [sys.executable, ROOT / program, *words, "--plain"], cwd=tmp_path,
        env={**os.environ, "FIBREFLOW_E2B_PLAN": "pro", "FIBREFLOW_STATE": str(tmp_path / "state")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = (tmp_path / "logs").glob("*/report.json")
    features = json.loads(report.read_text())["features"]
    assert [f["state"] for f in features] == ["merged"] * 10
    run = report.parent.name
    assert not any(run in b.body["metadata"].values() for b in e2b_cloud.cloud.live())


def test_without_a_key_nothing_is_begun(project: Project) -> None:
    project.simple("alpha")
    project.sandbox, project.env["E2B_API_KEY"] = "e2b", ""
    end = project.run()
    assert end.code == 5
    assert "E2B_API_KEY is not set" in end.err
    assert project.runs == []
