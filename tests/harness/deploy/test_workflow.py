"""A deployment that dies between any two steps goes on: all its effects happen once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.deploy.course import STEPS

ROOT = Path(__file__).resolve().parents[3]
#: By default each point of time is tried by an exception in one process, and a few by SIGKILL.
KILLS = int(os.environ.get("FIBREFLOW_CHAOS", "2"))

#: A project whose deployments are lines in files: what is live is the last line.
SETUP = """
set -e
mkdir -p repo ws
cd repo
git init -q --initial-branch=main
echo 'def ok(): return True' > ok.py
git add -A
git -c user.name=x -c user.email=x@localhost commit -qm Begin
git branch autopilot
"""
PLACE = {
    "deploy": "echo $FIBREFLOW_COMMIT >> $FIBREFLOW_ENVIRONMENT.deployed",
    "current": "tail -n 1 $FIBREFLOW_ENVIRONMENT.deployed 2>/dev/null || true",
    "roll_back": "echo rolled-back >> $FIBREFLOW_ENVIRONMENT.deployed",
    "smoke": [{"run": "test -f $FIBREFLOW_ENVIRONMENT.deployed || test -f staging.deployed"}],
}

PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from harness import inputs
from harness.deploy import driving
from harness.deploy.driving import Asked
from harness.record.clock import SystemClock
from harness.record.workspace import Workspace
from dataclasses import replace
from orchestrator.deploy import course
from orchestrator.approval_requests import Answer

class Killed(BaseException):
    pass

async def once(workspace, number, how):
    given, _ = driving.read(workspace)
    target = replace(await inputs.find_target(given, workspace.root), integrated={"a": "c"})
    seen = 0
    def noted(point):
        nonlocal seen
        seen += 1
        if seen == number:
            print(point, flush=True)
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise Killed
    wiring = replace(driving._wiring(workspace, given, target, Asked()), noted=noted)
    for asked in wiring.store.all():
        if asked.standing == "pending":
            answer = Answer("approved", "me", "", SystemClock().now(), "cli")
            wiring.store.answer(asked.request.id, answer)
    return await driving.drive(wiring, Asked(), "r")

def main(root, how, numbers):
    for number in numbers:
        folder = Path(root) / "ws"
        workspace = Workspace(folder)
        try:
            asyncio.run(once(workspace, number, how))
        except Killed:
            pass

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(n) for n in sys.argv[3].split(",")])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["sh", "-c", SETUP], cwd=tmp_path, check=True, capture_output=True)
    deploy = {"adapter": "command", "staging": PLACE, "production": PLACE}
    body = {
        "project": {"repo": "../repo", "deploy": deploy},
        "features": [{"id": "a", "description": "a", "acceptance": ["test -f ok.py"]}],
    }
    (tmp_path / "ws" / "feature_list.json").write_text(json.dumps(body), encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    return tmp_path


def run(project: Path, how: str, *numbers: int) -> str:
    done = subprocess.run(
        [sys.executable, project / "program.py", project, how, ",".join(map(str, numbers))],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def assert_once(project: Path) -> None:
    (record,) = (project / "ws" / "logs" / "deployments").glob("*.json")
    data = json.loads(record.read_text())
    assert [t["step"] for t in data["taken"]] == list(STEPS)
    assert all(t["ok"] for t in data["taken"])
    for name in ("staging", "production"):
        assert (project / "ws" / f"{name}.deployed").read_text().split() == [data["commit"]]
    notices = (project / "ws" / "logs" / "notices.jsonl").read_text().splitlines()
    assert [json.loads(n)["kind"] for n in notices] == ["approval_needed", "deployed"]


NEVER = 10_000


@pytest.mark.long
@pytest.mark.isolation
def test_dying_at_every_point_in_turn(project: Path) -> None:
    """Each step begins, is done, is kept: three points; the process dies at each, one after
    the other, until the deployment is through."""
    told = run(project, "raise", *([1, 2, 3] * 14), NEVER, NEVER)
    points = set(told.splitlines())
    assert {f"{step} {word}" for step in STEPS for word in ("begins", "done")} <= points
    assert_once(project)


@pytest.mark.long
@pytest.mark.isolation
@pytest.mark.parametrize("number", [8, 14, 20, *range(21, 37), *range(1, 8), *range(9, 14)][:KILLS])
def test_kill_9(project: Path, number: int) -> None:
    run(project, "kill", number)
    run(project, "kill", NEVER)
    run(project, "kill", NEVER)
    assert_once(project)


@pytest.mark.long
@pytest.mark.isolation
def test_production_waits_for_fresh_data_and_goes_on_by_itself(project: Path) -> None:
    """Exit code 3 and a reason while it is stale; the same command goes on when it is fresh."""
    sla = {
        "probe": {"type": "file_age", "path": "facts"}, "error": 600, "gates": {"promotion": True},
    }  # fmt: skip
    ws = project / "ws"
    (ws / "data_layer_slas.yaml").write_text(json.dumps({"slas": {"facts": sla}}))
    (ws / "facts").touch()
    os.utime(ws / "facts", (0, 0))
    run(project, "raise", NEVER, NEVER, NEVER)
    (record,) = (ws / "logs" / "deployments").glob("*.json")
    data = json.loads(record.read_text())
    assert data["taken"][-1]["step"] == "ask" and "facts is" in data["waits"]
    assert not (ws / "production.deployed").exists()
    (ws / "facts").touch()
    run(project, "raise", NEVER)
    assert_once(project)


@pytest.mark.isolation
def test_an_approver_in_the_patch_is_no_approver(project: Path) -> None:
    """Who may approve stands in the owner's list; what agents put into the repository is not
    read for it."""
    planted = json.dumps({"project": {"deploy": {"approval": {"approvers": {"me": []}}}}})
    (project / "repo" / "feature_list.json").write_text(planted)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for words in (["checkout", "-q", "autopilot"], ["add", "-A"], ["commit", "-qm", "Plant"],
                  ["checkout", "-q", "--detach"]):  # fmt: skip
        subprocess.run([*git, *words], cwd=project / "repo", check=True)
    path = project / "ws" / "feature_list.json"
    body = json.loads(path.read_text())
    body["project"]["deploy"]["approval"] = {"approvers": {"somebody": []}}
    path.write_text(json.dumps(body))
    run(project, "raise", NEVER, NEVER, NEVER)
    (record,) = (project / "ws" / "logs" / "deployments").glob("*.json")
    data = json.loads(record.read_text())
    assert (data["taken"][-1]["step"], data["approved"]) == ("ask", False)
    assert not (project / "ws" / "production.deployed").exists()
