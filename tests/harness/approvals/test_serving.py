"""`fibreflow approvals serve` as a user starts it: asks in Slack, and goes on after a click."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from harness.notices import Notices
from harness.record.clock import SystemClock
from harness.record.workspace import Workspace
from tests.emulators.slack import SlackServer
from tests.harness.approvals.asking import only, store_with

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
