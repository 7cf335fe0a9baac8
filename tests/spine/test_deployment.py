"""From merged features to production by the real program: staging, approval, promotion, undoing."""

import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.spine.project import Project, until, wait, writes

pytestmark = pytest.mark.isolation

#: Answers with its commit and with what was built; `broken.txt` breaks it in production only.
SERVICE = """
import http.server, os, pathlib

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        broken = pathlib.Path("broken.txt").exists()
        bad = broken and os.environ["FIBREFLOW_ENVIRONMENT"] == "production" and self.path == "/x"
        names = sorted(p.stem for p in pathlib.Path(".").glob("*.txt"))
        body = f"{os.environ['FIBREFLOW_COMMIT']} {names} {sorted(os.environ)}".encode()
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

DEPLOY = {
    "adapter": "process",
    "command": ["python", "service.py"],
    "health": "/health",
    "timeout_seconds": 40,
    "staging": {"smoke": [{"get": "/x", "contains": "alpha"}]},
    "production": {"smoke": [{"get": "/x", "contains": "alpha"}]},
}


@pytest.fixture
def site(make: Callable[..., Project]) -> Iterator[Project]:
    """One feature that its recording builds, and a service around it."""
    project = make("site", extra={"service.py": SERVICE})
    project.feature("alpha")
    project.record("alpha", writes("alpha.txt", "alpha done"))
    project.project["deploy"] = json.loads(json.dumps(DEPLOY))
    try:
        yield project
    finally:
        project.run("down", command="deploy")
        until(lambda: not project.processes(), f"no process left of {project.processes()}")


def get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + "/x", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def deployments(project: Project) -> list[dict[str, Any]]:
    """Newest first."""
    found = sorted((project.workspace / "logs" / "deployments").glob("*.json"), reverse=True)
    return [json.loads(path.read_text("utf-8")) for path in found]


def ends(project: Project) -> list[tuple[str, bool]]:
    return [(t["step"], t["ok"]) for t in deployments(project)[0]["taken"]]


def urls(project: Project) -> dict[str, str]:
    return dict(deployments(project)[0]["urls"])


def pending(project: Project) -> list[dict[str, Any]]:
    found = json.loads(project.run("list", "--json", command="approvals").out)
    return [a for a in found if a["standing"] == "pending"]


@pytest.mark.long
def test_an_unattended_run_waits_for_a_person_and_goes_to_production(site: Project) -> None:
    end = site.run("--autopilot")
    assert end.code == 3, end.out + end.err
    (asked,) = pending(site)
    head = site.git("rev-parse", "autopilot").strip()
    assert asked["commit"] == head
    assert "1 file changed, 1 insertion(+) since the base" in dict(asked["facts"])["diff"]
    staging = urls(site)["staging"]
    assert staging in end.out and head in get(staging)
    assert "production" not in urls(site)
    environment = get(staging).split("[")[-1]
    assert "FIBREFLOW_COMMIT" in environment
    assert not {"FIBREFLOW_CACHE", "ANTHROPIC_API_KEY", "SSH_AUTH_SOCK"} & set(
        environment.split("'")
    )
    # The same command says the same, and begins nothing twice.
    assert site.run("--autopilot").code == 3
    assert len(deployments(site)) == 1
    done = site.run("approve", asked["id"], command="approvals")
    assert done.code == 0, done.out + done.err
    assert head in get(urls(site)["production"])
    assert site.run("--autopilot").code == 0
    late = site.run("reject", asked["id"], "--reason", "no", command="approvals")
    assert (late.code, "has approved it already" in late.out) == (2, True)


@pytest.mark.slow
def test_a_broken_production_is_rolled_back_to_what_was_live(site: Project) -> None:
    site.project["deploy"]["approval"] = {"at_most": "AUTO", "accepted": "a test"}
    assert site.run("--autopilot").code == 0
    production, before = urls(site)["production"], site.git("rev-parse", "autopilot").strip()
    site.list.unlink()
    site.feature("broken", "alpha")
    site.record("broken", writes("broken.txt", "broken done"))
    end = site.run("--autopilot")
    assert end.code == 1, end.out + end.err
    assert "answered 500, not 200" in end.out
    assert ends(site)[-2:] == [("production_smoke", False), ("roll_back", True)]
    assert deployments(site)[0]["commit"] != before and before in get(production)


@pytest.mark.slow
def test_a_rejection_with_its_reason_is_work_and_staging_stays(site: Project) -> None:
    site.record("rework-0001", writes("colour.txt", "blue"), rejection="wrong colour")
    assert site.run("--autopilot").code == 3
    (asked,) = pending(site)
    mute = site.run("reject", asked["id"], command="approvals")
    assert mute.code == 2 and len(pending(site)) == 1
    # Whoever takes it in goes on: a round that knows the reason, and a new approval.
    end = site.run("reject", asked["id"], "--reason", "wrong colour", command="approvals")
    assert end.code == 3, end.out + end.err
    assert [d["answer"] for d in deployments(site)] == ["", "rejected"]
    assert site.merged() == ["alpha", "rework-0001"]
    told = site.transcript("rework-0001")[0]
    assert "wrong colour" in json.dumps(told)
    (again,) = pending(site)
    assert again["commit"] != asked["commit"] and "colour" in get(urls(site)["staging"])
    assert "an earlier version was rejected" in again["reasons"]
    assert "production" not in urls(site)
    # To another reason its recording has no answer, and says so; nothing is begun anew.
    other = site.run("reject", again["id"], "--reason", "too loud", command="approvals")
    assert other.code == 1 and len(pending(site)) == 0
    assert "rework-0002" in site.states() and len(deployments(site)) == 2
    # Staging goes on; a service that is killed is started again.
    folder = site.workspace / "logs" / "deploy" / "staging"
    state = json.loads((folder / "state.json").read_text())
    service = next(p for p in site.processes() if f"{state['live']}.spec.json" in p)
    os.kill(int(service.split(":")[0]), signal.SIGKILL)
    until(lambda: _starts(folder) > 1 and _healthy(folder), "it is started again")
    assert "alpha" in get(f"http://127.0.0.1:{state['port']}")
    # So is the supervisor, by whoever comes next; the address stays.
    os.kill(state["pid"], signal.SIGKILL)
    until(lambda: not site.processes(), "what it kept up ends with it")
    assert site.run(command="deploy").code == 1  # rejected it stays
    until(lambda: _is_up(urls(site)["staging"]), "staging is up again")


@pytest.mark.slow
def test_a_run_that_waits_takes_every_answer_in_by_itself(site: Project) -> None:
    """A rejection, then an approval, both by other processes, which leave the work to it."""
    site.record("rework-0001", writes("colour.txt", "blue"), rejection="wrong colour")
    running = site.start("--autopilot", "--wait")
    until(lambda: pending(site), "an approval is asked for")
    (first,) = pending(site)
    said = site.run("reject", first["id"], "--reason", "wrong colour", command="approvals")
    assert said.code == 0 and "goes on by itself" in said.out, said.out + said.err
    until(lambda: pending(site), "the round is through that knows the reason")
    (second,) = pending(site)
    assert site.run("approve", second["id"], command="approvals").code == 0
    end = wait(running)
    assert end.code == 0, end.out + end.err
    head = site.git("rev-parse", "autopilot").strip()
    assert head == second["commit"] and head in get(urls(site)["production"])
    assert site.merged() == ["alpha", "rework-0001"]
    # What is live and taken down is not called live, and brought up again by hand alone.
    site.run("down", command="deploy")
    assert "was live and is no more" in site.run("--autopilot").out
    assert len(deployments(site)) == 2
    assert site.run(command="deploy").code == 3 and len(deployments(site)) == 3


def _is_up(url: str) -> bool:
    try:
        return "alpha" in get(url)
    except OSError:
        return False


def _starts(folder: Path) -> int:
    return int(_row(folder)["starts"])


def _healthy(folder: Path) -> bool:
    return bool(_row(folder)["healthy"])


def _row(folder: Path) -> dict[str, Any]:
    state = json.loads((folder / "state.json").read_text())
    row: dict[str, Any] = state["instances"][state["live"]]
    return row
