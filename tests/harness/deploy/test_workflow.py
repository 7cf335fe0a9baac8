"""A deployment that is killed between any two steps goes on: all its effects happen once."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli.deploy_commands import approvals
from harness.cli.deploy_flags import DeployOptions
from harness.cli.flags import Command, RunOptions
from harness.deploy import driving
from harness.deploy.records import Records
from harness.inputs import read_features
from harness.record.workspace import Workspace
from orchestrator.approval_requests import Answer
from orchestrator.deploy import course
from orchestrator.deploy.course import STEPS

ROOT = Path(__file__).resolve().parents[3]
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
from orchestrator.approval_requests import Answer
from orchestrator.deploy import course
from orchestrator.approval_requests import Answer

async def once(workspace, number):
    given, _ = driving.read(workspace)
    target = replace(await inputs.find_target(given, workspace.root), integrated={"a": "c"})
    seen = 0
    def noted(point):
        nonlocal seen
        seen += 1
        if seen == number:
            print(point, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    wiring = replace(driving._wiring(workspace, given, target, Asked()), noted=noted)
    for asked in wiring.store.all():
        if asked.standing == "pending":
            answer = Answer("approved", "me", "", SystemClock().now(), "cli")
            wiring.store.answer(asked.request.id, answer)
    return await driving.drive(wiring, Asked(), "r")

def in_a_process_of_its_own(root, number):
    # A fork costs milliseconds, where a program's start costs seconds.
    child = os.fork()
    if not child:
        asyncio.run(once(Workspace(Path(root) / "ws"), number))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status

if __name__ == "__main__":
    for number in sys.argv[2].split(","):
        in_a_process_of_its_own(sys.argv[1], int(number))
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


def run(project: Path, *numbers: int) -> str:
    """Goes on with the deployment once for each number: killed at that point, NEVER at none."""
    done = subprocess.run(
        [sys.executable, project / "program.py", project, ",".join(map(str, numbers))],
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


def merge(project: Path, title: str) -> None:
    """One more commit on the branch, by which feature a is on it."""
    me = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    words = f"{title}\n\nFeature: a\nAttempt: r1-a01\nRun: r\n"
    for command in (["switch", "-q", "autopilot"], ["commit", "-q", "--allow-empty", "-m", words],
                    ["switch", "-q", "main"]):  # fmt: skip
        subprocess.run([*me, *command], cwd=project / "repo", check=True)


NEVER = 10_000
#: Each step has three points.
NUMBER_OF_ASK_DONE = 3 * STEPS.index("ask") + 2


@pytest.mark.long
@pytest.mark.isolation
def test_dying_at_every_point_in_turn(project: Path) -> None:
    """`kill -9` between every two steps: each begins, is done, is kept; a process dies at each of
    these points, one after the other, until the deployment is through."""
    told = run(project, *([1, 2, 3] * 14), NEVER, NEVER)
    points = set(told.splitlines())
    assert points == {f"{step} {word}" for step in STEPS for word in ("begins", "done", "kept")}
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
    run(project, NEVER, NEVER, NEVER)
    (record,) = (ws / "logs" / "deployments").glob("*.json")
    data = json.loads(record.read_text())
    assert data["taken"][-1]["step"] == "ask" and "facts is" in data["waits"]
    assert not (ws / "production.deployed").exists()
    (ws / "facts").touch()
    run(project, NEVER)
    assert_once(project)


def test_no_deployment_has_the_name_of_another(tmp_path: Path) -> None:
    """Also where a record was moved away, as an error says: an old answer is none to it."""
    records = Records(Workspace(tmp_path))
    assert records.next_id("c" * 40) == "0001-cccccccccc"
    (tmp_path / "logs" / "deployments" / "0002-cccccccccc").mkdir(parents=True)
    assert records.next_id("c" * 40) == "0003-cccccccccc"
    assert records.next_id("c" * 40, ["0007-cccccccccc", "plan-1"]) == "0008-cccccccccc"


@pytest.mark.long
@pytest.mark.isolation
def test_a_request_that_was_made_for_less_is_no_approval(project: Path) -> None:
    """The process dies when it has asked, and the owner makes it stricter before it goes on: the
    answer to the first request is not enough."""
    done = run(project, NUMBER_OF_ASK_DONE)
    assert done == "ask done\n"
    path = project / "ws" / "feature_list.json"
    body = json.loads(path.read_text())
    body["project"]["deploy"]["approval"] = {"at_least": "EXPERT"}
    path.write_text(json.dumps(body))
    run(project, NEVER, NEVER)
    (record,) = (project / "ws" / "logs" / "deployments").glob("*.json")
    last = json.loads(record.read_text())["taken"][-1]
    assert (last["step"], last["ok"]) == ("ask", False) and "asked for otherwise" in last["detail"]
    assert not (project / "ws" / "production.deployed").exists()


@pytest.mark.long
@pytest.mark.isolation
async def test_what_stands_without_the_failed_ones_waits_for_a_person(project: Path) -> None:
    """`on: all` deploys nothing then, `demand` nothing by itself, `partial` what is merged; and
    when nobody answers in time, that is a refusal."""
    merge(project, "A")
    root = project / "ws"
    workspace, options = Workspace(root), RunOptions(root, root / "feature_list.json")
    body = json.loads(options.features.read_text())
    body["project"]["deploy"]["approval"] = {"expires_hours": 0.001}
    body["features"].append({"id": "b", "description": "b", "acceptance": ["false"]})
    for on in ("all", "demand", "partial"):
        body["project"]["deploy"]["on"] = on
        options.features.write_text(json.dumps(body))
        found = await driving.after_run(read_features(options), workspace, options, 1)
        assert found == (1, False)
        records = Records(workspace).all()
        assert len(records) == (on == "partial")
    assert course.status(records[0]) == "waiting" and records[0].strategy == "REQUIRED"
    assert "1 of its features failed" in records[0].taken[-1].detail
    store, asked = driving.store(workspace), records[0].request
    async with asyncio.timeout(30):
        while (found := store.find(asked)) is not None and found.standing == "pending":
            await asyncio.sleep(0.1)
    late = store.answer(asked, Answer("approved", "me", "", time.time(), "cli"))
    assert not late.counted and "too late" in late.words
    assert await driving.after_run(read_features(options), workspace, options, 0) == (1, False)
    assert course.status(Records(workspace).all()[0]) == "expired"
    assert not (root / "production.deployed").exists()


@pytest.mark.long
@pytest.mark.isolation
async def test_a_newer_commit_withdraws_what_is_open_for_the_older(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever is faster counts: a withdrawn request is done with, an approved one goes first."""
    merge(project, "A")
    root = project / "ws"
    workspace, options = Workspace(root), RunOptions(root, root / "feature_list.json")

    async def go() -> int:
        return (await driving.after_run(read_features(options), workspace, options, 0))[0]

    def standings() -> list[tuple[str, str]]:
        """Of records and requests, newest first."""
        records = [course.status(d) for d in Records(workspace).all()]
        return list(zip(records, (a.standing for a in store.all()), strict=True))

    store = driving.store(workspace)
    assert await go() == 3
    merge(project, "B")
    assert await go() == 3
    assert standings() == [("waiting", "pending"), ("superseded", "superseded")]
    newer, older = (d.id for d in Records(workspace).all())
    assert f"withdrawn   {older}: the branch has gone on to {newer[5:]}" in capsys.readouterr().out
    command = Command("approvals", root, deploy=DeployOptions("approve", older))
    assert approvals(command) == 2
    said = capsys.readouterr()
    assert "nobody is asked any more: the branch has gone on" in said.out
    assert f"error: {older}: this answer did not count" in said.err
    # Killed between the withdrawal and its record: the same command goes on, and asks once.
    merge(project, "C")
    store.withdraw(newer, "me", "the branch has gone on")
    assert await go() == 3
    assert standings()[:2] == [("waiting", "pending"), ("superseded", "superseded")]
    # A person is faster: what they approved goes first, the newer is asked for after it.
    merge(project, "D")
    third = Records(workspace).all()[0]
    assert store.answer(third.request, Answer("approved", "me", "", time.time(), "cli")).counted
    assert await go() == 3
    assert [s for s, _ in standings()] == ["waiting", "live", "superseded", "superseded"]
    assert (root / "production.deployed").read_text().split() == [third.commit]


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
    run(project, NEVER, NEVER, NEVER)
    (record,) = (project / "ws" / "logs" / "deployments").glob("*.json")
    data = json.loads(record.read_text())
    assert (data["taken"][-1]["step"], data["approved"]) == ("ask", False)
    assert not (project / "ws" / "production.deployed").exists()
