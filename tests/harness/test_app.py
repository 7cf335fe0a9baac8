"""A run's start and its ends as a user's script sees them: JSON, resuming, what cannot be kept."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spine.project import Project, bash, says, submit, until, writes


@pytest.fixture
def project(tmp_path: Path, new_cache: Callable[[Path], Path]) -> Project:
    return Project(tmp_path, new_cache(tmp_path / "cache"), sandbox="process")


def slow(project: Project) -> None:
    """`alpha` is quick; `beta`, after it, takes until it is killed the first time."""
    project.simple("alpha")
    project.feature("beta", "alpha")
    wait = f"test -e {project.folder}/go || sleep 100"
    project.record("beta", [[says("Wait."), bash(wait)], *writes("beta.txt", "beta done")])


def killed(project: Project) -> str:
    """The id of a run that was killed while `beta` was at work."""
    process = project.start()
    until(
        lambda: any(e["feature"] == "beta" for e in project.events("AttemptStarted")),
        "beta is at work",
    )
    status = project.run(command="status")
    assert f": running, process {process.pid}" in status.out
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (project.folder / "go").touch()
    return project.runs[-1]


@pytest.mark.long
def test_json_of_a_run_that_has_nothing_to_do(project: Project) -> None:
    project.simple("alpha")
    assert project.run("--json").code == 0
    again = project.run("--json")
    assert again.code == 0
    (line,) = again.out.splitlines()
    data = json.loads(line)
    assert data["run"] is None
    assert [(f["id"], f["state"]) for f in data["features"]] == [("alpha", "merged")]
    assert data["features"][0]["commit"] == project.git("rev-parse", "autopilot").strip()
    assert data["repo"] == str(project.repo)


def test_json_leaves_words_for_people_to_standard_error(project: Project) -> None:
    project.simple("alpha")
    (project.repo / "README.md").unlink()
    end = project.run("--json", "--only", "nobody")
    assert (end.code, end.out) == (2, "")
    assert end.err.startswith("error: --only nobody")


@pytest.mark.slow
def test_a_killed_run_is_called_so_and_resumed_by_its_name(project: Project) -> None:
    slow(project)
    run = killed(project)
    assert f"run {run}: killed: " in project.run(command="status").out
    assert "not finished" in project.run(command="list").out
    again = project.run("--only", "alpha", command="run")  # other inputs, nothing left of them
    assert "nothing to do" in again.out
    resumed = project.run(run, "--json", command="resume")
    assert resumed.code == 0, resumed
    lines = [json.loads(line) for line in resumed.out.splitlines()]
    assert lines[-1]["run"] == run
    assert project.states() == {"alpha": "merged", "beta": "merged"}
    assert project.runs == [run]
    again = project.run(run, command="resume")
    assert again.code == 0
    assert f"nothing to resume: {run} has come to its end" in again.out


@pytest.mark.slow
def test_what_is_not_isolated_is_said_again_when_the_run_goes_on(project: Project) -> None:
    slow(project)
    killed(project)
    assert "NO ISOLATION" in project.run().out.splitlines()[1]


@pytest.mark.slow
def test_a_run_is_not_resumed_with_another_list(project: Project) -> None:
    slow(project)
    run = killed(project)
    before = project.list.read_text()
    project.list.write_text(before.replace("Write beta.txt.", "Write beta.txt twice."))
    for words in ((run,), ()):
        refused = project.run(*words, command="resume")
        assert refused.code == 2
        assert f"{run} was begun with another feature list" in refused.err
        assert "fibreflow run" in refused.err
    assert project.runs == [run]
    project.list.write_text(before)
    assert project.run(command="resume").code == 0
    assert project.states() == {"alpha": "merged", "beta": "merged"}


@pytest.mark.long
def test_a_list_that_cannot_be_written_loses_nothing(project: Project) -> None:
    """Its name leaves no room for the new file beside it, which even root cannot change."""
    project.simple("alpha")
    project.store()
    project.list = project.list.rename(project.list.with_name("l" * 250 + ".json"))
    end = project.run("--features", str(project.list))
    assert end.code == 5, end
    (stopped,) = project.events("RunStopped")  # on the screen the long name pushes it out
    assert "cannot be written" in stopped["reason"]
    assert "fix its permissions" in stopped["reason"]
    assert "fibreflow resume" in end.out
    assert project.merged() == ["alpha"]
    project.list = project.list.rename(project.list.with_name("feature_list.json"))
    again = project.run()
    assert again.code == 0
    assert project.merged() == ["alpha"]
    assert json.loads(project.list.read_text())["features"][0]["passes"] is True


def test_a_folder_for_logs_that_cannot_be_made(project: Project) -> None:
    project.simple("alpha")
    (project.workspace / "logs").write_text("a file where the folder should be")
    end = project.run()
    assert end.code == 5
    assert "logs" in end.err
    assert project.git("branch", "--list", "autopilot") == ""


@pytest.mark.long
def test_submitting_nothing_is_no_crash(project: Project) -> None:
    project.feature("alpha")
    project.record("alpha", [[submit()]])
    end = project.run("--json")
    assert end.code == 1
    assert json.loads(end.out.splitlines()[-1])["features"][0]["state"] == "failed"
