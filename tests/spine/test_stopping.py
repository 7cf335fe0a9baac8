"""Stopping by hand: once drains, twice leaves at once, and the same command goes on."""

import signal

import pytest

from tests.spine.project import Project, bash, creates, says, submit, until, wait, writes


def slow(project: Project, seconds: int) -> None:
    project.feature("a")
    turns = [[says("Slowly."), bash(f"sleep {seconds}; : {project.marker}")]]
    project.record("a", [*turns, [creates("a.txt", "a done")], [submit()]])
    project.feature("b", "a")
    project.record("b", writes("b.txt", "b done"))
    project.simple("c")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_drains(project: Project, number: signal.Signals) -> None:
    slow(project, 2)
    program = project.start("--workers", "1")
    until(lambda: project.events("ModelCalled"), "the attempt is at work")
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
