"""Stopping by hand: once drains, twice leaves at once, and the same command goes on."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.sandboxes import folders
from tests.spine.project import Project, bash, creates, says, submit, until, wait, writes


@pytest.fixture
def hangups() -> Iterator[None]:
    """Programs begun here hear SIGHUP, where these tests run under nohup too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def slow(project: Project, seconds: int) -> None:
    project.feature("a")
    turns = [[says("Slowly."), bash(f"sleep {seconds}; : {project.marker}")]]
    project.record("a", [*turns, [creates("a.txt", "a done")], [submit()]])
    for id_ in ("b", "c"):
        project.feature(id_, "a")
        project.record(id_, writes(f"{id_}.txt", f"{id_} done"))


@pytest.mark.long
@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(
    "number",
    [  # That SIGINT drains is seen below as well.
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        signal.SIGHUP,
    ],
)
def test_once_drains(project: Project, number: signal.Signals) -> None:
    slow(project, 2)
    program = project.start("--workers", "1")
    until(lambda: project.events("ModelCalled"), "the attempt is at work")
    program.send_signal(number)
    if number == signal.SIGHUP:  # a closed terminal: the kernel says so, and the shell again
        until(lambda: project.events("DrainRequested"), "it drains")
        program.send_signal(number)
    end = wait(program)
    assert end.code == 130
    assert end.err == ""
    assert [e["feature"] for e in project.events("AttemptFinished")] == ["a"]
    assert [e["feature"] for e in project.events("AttemptStarted")] == ["a"]
    assert project.events()[-1]["type"] == "RunStopped"
    assert number.name in project.report()["stopped"]
    again = project.run("--workers", "1")
    assert again.code == 0, again
    assert sorted(project.merged()) == ["a", "b", "c"]
    assert len(project.runs) == 1
    project.assert_no_attempt_twice()
    project.assert_nothing_left()


@pytest.mark.long
def test_twice_leaves_at_once(project: Project) -> None:
    slow(project, 600)
    program = project.start("--workers", "1")
    until(lambda: project.events("ModelCalled"), "the attempt is at work")
    program.send_signal(signal.SIGINT)
    until(lambda: project.events("DrainRequested"), "it drains")
    program.send_signal(signal.SIGINT)
    end = wait(program)
    assert end.code == 130
    assert end.err == ""
    assert project.events("AttemptFinished", "AttemptCancelled") == []
    until(lambda: not project.processes(), "no process left")
    # What it was running is answered "interrupted", and the attempt goes on from there.
    again = project.run("--workers", "1")
    assert again.code == 0, again
    assert "interrupted" in str(project.transcript("a"))
    assert [e["attempt"] for e in project.events("AttemptResumed")] == ["r1-a01"]
    project.assert_no_attempt_twice()
    project.assert_nothing_left()


def killed_half_way(project: Project) -> None:
    project.feature("a")
    turns = [[creates("a.txt", "a done")], [bash(f"sleep 2; : {project.marker}")], [submit()]]
    project.record("a", turns)
    program = project.start()
    until(lambda: len(project.events("ModelCalled")) == 2, "the file is written")
    program.send_signal(signal.SIGKILL)
    program.communicate()


@pytest.mark.slow
def test_another_run_leaves_the_files_of_a_killed_one(make: Callable[..., Project]) -> None:
    project, other = make(), make(name="other")
    killed_half_way(project)
    other.simple("x")
    assert other.run().code == 0
    assert project.run().code == 0
    assert project.file("a.txt") == "a done"


@pytest.mark.long
@pytest.mark.parametrize("lost", ["gone", "of another base"])
def test_an_attempt_whose_files_are_lost_begins_anew(project: Project, lost: str) -> None:
    """Its conversation would speak of work that is nowhere to be found; after a power cut, or when
    the program was replaced meanwhile. What was said and paid is kept."""
    killed_half_way(project)
    until(lambda: not project.processes(), "no process left")
    (sandbox,) = (Path(p) for p in project.sandboxes() if (Path(p) / "workspace.json").is_file())
    if lost == "gone":
        folders.remove(sandbox.parent)
    else:
        record = sandbox / "workspace.json"
        made = json.loads(record.read_text())
        record.write_text(json.dumps({**made, "base": {**made["base"], "id": "old"}}))
    end = project.run()
    assert end.code == 0, end
    assert "begins anew" in end.out
    assert project.file("a.txt") == "a done"
    assert len(project.events("ModelCalled")) == 2 + 3
    folder = project.run_folder / "a" / "r1-a01"
    assert (folder / "transcript.lost-1.jsonl").is_file()
    assert [line["type"] for line in project.transcript("a")].count("start") == 1
    project.assert_nothing_left()


@pytest.mark.long
def test_two_runners_cannot_share_a_workspace(project: Project) -> None:
    slow(project, 600)
    program = project.start()
    until(lambda: project.events("ModelCalled"), "the first is at work")
    second = project.run()
    program.send_signal(signal.SIGKILL)
    program.communicate()
    assert second.code == 5
    assert f"kill -INT {program.pid}" in second.err


def test_a_branch_that_is_checked_out_is_left_alone(project: Project) -> None:
    project.simple("alpha")
    project.git("switch", "--quiet", "--create", "autopilot")
    end = project.run()
    assert end.code == 2
    assert "checked out" in end.err
    assert project.runs == []


def test_a_repository_without_commits(project: Project) -> None:
    project.simple("alpha")
    fresh = project.folder / "fresh"
    fresh.mkdir()
    project.git("init", "--quiet", str(fresh))
    end = project.run("--repo", str(fresh))
    assert end.code == 2
    assert "commit" in end.err
