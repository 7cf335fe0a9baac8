"""`fibreflow approvals serve` as a user starts it: asks in Slack, and goes on after a click."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from harness.deploy.records import Records
from harness.notices import Notices
from harness.record.clock import SystemClock
from harness.record.workspace import Workspace
from orchestrator.approval_requests import Answer
from orchestrator.deploy.course import Deployment
from tests.emulators.slack import SlackServer
from tests.harness.approvals.asking import TEAM, only, request, store_with
from tests.spine.project import until

#: Somebody who may answer, as Slack knows them.
OWNER = "U2"
RUNNER = Path(__file__).resolve().parents[3] / "harness" / "runner.py"


def fibreflow(*words: str, workspace: Path) -> list[str]:
    return [sys.executable, str(RUNNER), "approvals", "--workspace", str(workspace), *words]


def environment(slack: SlackServer) -> dict[str, str]:
    return {
        **os.environ,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_APPROVALS_CHANNEL": "#deploys",
        "SLACK_API_URL": slack.api_url,
    }


@pytest.mark.long
def test_it_asks_in_slack_and_takes_clicks_and_links_in(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    store = store_with(tmp_path / "logs")
    with SlackServer() as slack:
        serving = subprocess.Popen(
            fibreflow("serve", "--port", "0", workspace=tmp_path), env=environment(slack),
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert serving.stdout is not None
            inbox = re.findall(r"http://\S+", serving.stdout.readline())[0]
            slack.wait(lambda: bool(slack.messages))
            link = subprocess.run(
                fibreflow("link", "0001-cafe", "--as", "bob", workspace=tmp_path),
                capture_output=True, text=True, check=True,
            ).stdout.strip()  # fmt: skip
            path = re.sub(r"^http://[^/]*/", inbox, link)
            assert "d" * 64 in urllib.request.urlopen(path, timeout=20).read().decode()
            click = slack.click(slack.messages[0], "fibreflow_approve", "U2")
            body, headers = slack.request(click)
            forged, fake = slack.request(click, secret="x")
            events = inbox + "slack/events"
            assert post(events, forged, fake) == 401
            slack.send(click)
            slack.wait(lambda: "approved by" in slack.messages[0]["text"])
            assert post(events, body, headers) == 200  # the other way, too late
            slack.wait(lambda: bool(slack.ephemeral))
            Notices(Workspace(tmp_path), SystemClock()).tell("0001/live", "deployed", "it is live")
            slack.wait(lambda: "it is live" in slack.texts)
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(20) == 0
        finally:
            serving.kill()
    answer = only(store).answer
    assert answer is not None and answer.by == "slack:U2"


@pytest.mark.long
@pytest.mark.isolation
def test_a_plan_is_rejected_and_approved_in_slack(tmp_path: Path) -> None:
    """`--approve-plan` as a user starts it; the answers come by clicks, and a process of its own
    goes on with each: the roles write anew and know the reason, then the run begins."""
    mail = tmp_path / "mail"
    prepared(mail)
    goal = "Build an email notification agent"
    words = ["--autopilot", goal, "--approve-plan", "--plan-only", "--workspace", str(mail)]
    begun = subprocess.run(
        [sys.executable, str(RUNNER), *words], check=False, capture_output=True, text=True
    )
    assert begun.returncode == 3, begun.stdout + begun.stderr
    reason = {"reason": "Operators need a command that lists what waits"}
    with SlackServer() as slack:
        serving = subprocess.Popen(
            fibreflow("serve", "--port", "0", workspace=mail), env=environment(slack),
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            slack.wait(lambda: bool(slack.messages), 30)
            assert "for plan" in str(slack.messages[0]["blocks"])
            slack.wait(lambda: bool(slack._sockets), 30)
            slack.send(slack.click(slack.messages[0], "fibreflow_reject", OWNER))
            slack.wait(lambda: bool(slack.views), 30)
            slack.send(slack.submit(slack.views[0], reason, OWNER))
            slack.wait(lambda: bool(again(slack)), 90)
            (message,) = again(slack)
            assert "waiting" in str(message["blocks"])
            slack.send(slack.click(message, "fibreflow_approve", OWNER))
            until((mail / "feature_list.json").exists, "the list is written")
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(20)
    listed = json.loads((mail / "feature_list.json").read_bytes())["features"]
    assert [f["id"] for f in listed][-1] == "waiting"


def prepared(workspace: Path) -> None:
    """The example's goal, with somebody who may answer in Slack."""
    example = RUNNER.parents[1] / "examples" / "email-notification-agent"
    own = workspace / "examples" / "mail"
    shutil.copytree(example, own)
    goal = json.loads((own / "goal.json").read_bytes())
    place = {"smoke": [{"get": "/health"}]}
    goal["project"]["deploy"] = {
        "adapter": "process", "command": ["python", "-m", "mail_agent"], "staging": place,
        "production": place, "approval": {"approvers": {"ada": [f"slack:{OWNER}"]}},
    }  # fmt: skip
    (own / "goal.json").write_text(json.dumps(goal), encoding="utf-8")


def again(slack: SlackServer) -> list[dict[str, Any]]:
    """The second request of a plan."""
    return [m for m in slack.messages[1:] if "-2-" in m["text"] and "Approval" in m["text"]]


@pytest.mark.long
def test_an_answer_that_cannot_be_gone_on_with_is_said_and_the_next_is_taken(
    tmp_path: Path,
) -> None:
    """The first was taken in by a process that died before it went on."""
    (tmp_path / "logs").mkdir()
    store = store_with(tmp_path / "logs")
    store.ask(request(id="0002-beef"), TEAM)
    broken = Deployment("0001-cafe", "r", "c" * 40, "d" * 64, "alice", request="0001-cafe")
    Records(Workspace(tmp_path)).store(broken)  # and no feature list
    assert store.answer("0001-cafe", Answer("approved", "bob", "", time.time(), "cli")).counted
    with SlackServer() as slack:
        serving = subprocess.Popen(
            fibreflow("serve", "--port", "0", workspace=tmp_path), env=environment(slack),
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert serving.stdout is not None
            serving.stdout.readline()
            assert "there is no such file" in serving.stdout.readline()
            assert "approvals continue" in serving.stdout.readline()
            slack.wait(lambda: len(slack.messages) == 1 and bool(slack._sockets), 30)
            slack.send(slack.click(slack.messages[0], "fibreflow_approve", "U2"))
            assert "there is no such file" in serving.stdout.readline()
        finally:
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(20) == 0
    assert [asked.standing for asked in store.all()] == ["approved", "approved"]


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=20) as reply:
            status: int = reply.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def test_half_of_slacks_settings_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        fibreflow("serve", "--port", "0", workspace=tmp_path),
        env={**os.environ, "SLACK_BOT_TOKEN": "xoxb-x", "SLACK_APP_TOKEN": ""},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 5
    assert "SLACK_APPROVALS_CHANNEL" in done.stderr


@pytest.mark.long
def test_a_link_for_somebody_who_may_not_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    store_with(tmp_path / "logs")
    done = subprocess.run(
        fibreflow("link", "0001-cafe", "--as", "mallory", workspace=tmp_path),
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2 and "no approver" in done.stderr
    found = subprocess.run(
        fibreflow("list", "--json", workspace=tmp_path), capture_output=True, check=True
    )
    assert json.loads(found.stdout)[0]["standing"] == "pending"
