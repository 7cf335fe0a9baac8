"""The adapter `compose`: what docker is asked for, and which colour the one port leads to."""

import http.server
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.deploy.adapter import Release
from harness.deploy.compose import ComposeAdapter
from orchestrator.deploy.values import Deploy, Environment
from orchestrator.errors import DeployError

#: In docker's place: writes down what it was asked, and prints the port of the commit.
DOCKER = """#!/bin/sh
echo "$*" >> "$ASKED"
case "$*" in
  *" port "*) echo "0.0.0.0:$(cat "$PORTS/$FIBREFLOW_COMMIT")" ;;
  *" up "*) cp "$FIBREFLOW_SOURCE/app.txt" "$PORTS/built" && test ! -e "$PORTS/broken" ;;
esac
"""


@contextmanager
def serving(text: str) -> Iterator[int]:
    """A container's service that answers with a text."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text: str = opener.open(url, timeout=20).read().decode()
    return text


class Site:
    """A repository of two commits, a workspace, and a docker that is none."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.asked = folder, folder / "asked"
        self.commits = []
        (folder / "repo").mkdir()
        for number in (1, 2):
            (folder / "repo" / "app.txt").write_text(f"app {number}")
            if number == 1:
                self.git("init", "-q")
            self.git("add", "-A")
            self.git("commit", "-qm", "x")
            self.commits.append(self.git("rev-parse", "HEAD").strip())
        program = folder / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(DOCKER)
        program.chmod(0o755)
        patch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        patch.setenv("ASKED", str(self.asked))
        patch.setenv("PORTS", str(folder))
        self.asked.touch()

    def git(self, *words: str) -> str:
        me = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
        done = subprocess.run(me, cwd=self.folder / "repo", check=True, capture_output=True)
        return done.stdout.decode()

    def adapter(self) -> ComposeAdapter:
        place = Environment(env={"MODE": "x"})
        own = Deploy("compose", place, place, timeout=30, file="ops/compose.yaml", service="api")
        return ComposeAdapter(self.folder / "deploy", "production", own, workspace=self.folder)

    def release(self, number: int) -> Release:
        return Release(self.folder / "repo", self.commits[number], "d" * 64)

    def publishes(self, number: int, port: int) -> None:
        (self.folder / self.commits[number]).write_text(str(port))

    def calls(self, word: str) -> list[str]:
        return [line for line in self.asked.read_text().splitlines() if f" {word}" in line]


async def test_blue_and_green_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, monkeypatch)
    one, two = site.release(0), site.release(1)
    with serving("first") as port, serving("second") as other:
        site.publishes(0, port)
        site.publishes(1, other)
        try:
            assert get(await site.adapter().bring_up(one)) == "first"
            (up,) = site.calls("up")
            project = up.split("--project-name ")[1].split()[0]
            assert up == (
                f"compose --project-name {project} --file {tmp_path}/ops/compose.yaml "
                "up --detach --build --wait --remove-orphans"
            )
            assert project.startswith("fibreflow-production-") and project.endswith("-blue")
            assert (tmp_path / "built").read_text() == "app 1"
            assert await site.adapter().live() == ""
            url = await site.adapter().switch(one)
            assert get(url) == "first"
            # The second stands beside it, and is live when it is switched to: the same address.
            assert get(await site.adapter().bring_up(two)) == "second"
            assert (get(url), await site.adapter().live()) == ("first", one.commit)
            assert await site.adapter().switch(two) == url
            assert get(url) == "second"
            assert await site.adapter().roll_back(two) == one.commit
            assert get(url) == "first"
            (down,) = site.calls("down")
            assert "-green" in down
        finally:
            site.adapter().stop()


async def test_what_does_not_come_up_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, monkeypatch)
    (tmp_path / "broken").touch()
    with pytest.raises(DeployError, match="docker compose up` ended with exit 1"):
        await site.adapter().bring_up(site.release(0))
    (tmp_path / "broken").unlink()
    (tmp_path / site.commits[0]).write_text("")
    with pytest.raises(DeployError, match="the service api publishes no such port"):
        await site.adapter().bring_up(site.release(0))
    assert await site.adapter().live() == "" and not site.adapter().stop()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match="docker is not installed"):
        await site.adapter().take_down()
