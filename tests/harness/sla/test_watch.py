"""`fibreflow sla watch` as a user starts it: tells, survives kill -9, and shows how things are."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.slack import SlackServer

RUNNER = Path(__file__).resolve().parents[3] / "harness" / "runner.py"


def write(workspace: Path, slack: SlackServer) -> None:
    slas = {
        "facts": {"probe": {"type": "file_age", "path": "facts"}, "error": 60, "interval": 0.2},
        "never": {"error": 5},
    }
    notify = {"default": ["slack"], "slack": {"channel": "#data", "api_url": slack.api_url}}
    body = {"slas": slas, "notify": notify, "monitoring": {"group_wait": 0}}
    (workspace / "data_layer_slas.yaml").write_text(json.dumps(body), encoding="utf-8")
    (workspace / "facts").touch()


class Watch:
    def __init__(self, workspace: Path, token: str) -> None:
        env = {**os.environ, "SLACK_BOT_TOKEN": token}
        self.process = subprocess.Popen(
            [sys.executable, RUNNER, "sla", "watch", "--workspace", workspace, "--ports", "0", "0"],
            stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(3)]
        self.page, self.health = (line.split()[-1] for line in lines[1:])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


@contextlib.contextmanager
def watching(workspace: Path, token: str) -> Iterator[Watch]:
    watch = Watch(workspace, token)
    try:
        yield watch
    finally:
        watch.kill()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.02)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def status(watch: Watch) -> dict[str, Any]:
    body = json.loads(get(watch.page + "api/sla-status")[1])
    return {row["sla"]: row for row in body["slas"]}


@pytest.mark.long
def test_it_tells_once_over_a_kill_and_shows_how_things_are(tmp_path: Path) -> None:
    with SlackServer() as slack:
        write(tmp_path, slack)
        with watching(tmp_path, slack.bot_token) as watch:
            until(lambda: "facts" in status(watch) and status(watch)["facts"]["state"] == "ok")
            assert status(watch)["never"]["state"] == "no_data"
            assert get(watch.health)[0] == 200
            os.utime(tmp_path / "facts", (0, 0))
            slack.wait(lambda: any("FIRING: facts is" in text for text in slack.texts))
        with watching(tmp_path, slack.bot_token) as watch:
            until(lambda: "facts/error" in get(watch.page)[1])
            (tmp_path / "facts").touch()
            slack.wait(lambda: any("resolved: facts" in text for text in slack.texts))
            watch.process.send_signal(signal.SIGTERM)
            assert watch.process.wait(20) == 0
    assert [t.split(" is ")[0] for t in slack.texts if "facts" in t] == [
        "[error] FIRING: facts", "[error] resolved: facts",
    ]  # fmt: skip


def test_a_second_watch_is_refused(tmp_path: Path) -> None:
    with SlackServer() as slack:
        write(tmp_path, slack)
        with watching(tmp_path, slack.bot_token):
            second = subprocess.run(
                [sys.executable, RUNNER, "sla", "watch", "--workspace", tmp_path],
                capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip
    assert second.returncode == 5
    assert "another `fibreflow sla watch`" in second.stderr
