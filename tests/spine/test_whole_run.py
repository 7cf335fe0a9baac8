"""A small run from the command line to the branch, and the second one, which has nothing to do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spine.project import Project, writes

ARTIFACTS = ("transcript.jsonl", "patch.diff", "evidence.json", "verify.log")


def two_features(project: Project) -> None:
    project.simple("alpha")
    project.feature("beta", "alpha")
    project.record("beta", writes("beta.txt", "beta done"))
    project.store()


@pytest.mark.long
def test_a_run_leaves_all_it_promises(project: Project) -> None:
    two_features(project)
    before = project.list.read_text("utf-8")
    (project.repo / "README.md").write_text("changed, not committed\n")
    (project.repo / "staged.txt").write_text("staged\n")
    project.git("add", "staged.txt")
    index = project.repo / ".git" / "index"
    mine = index.read_bytes(), project.git("rev-parse", "main")

    end = project.run()

    assert end.code == 0, end
    assert end.err == ""
    (unseen,) = (e["message"] for e in project.events("WarningGiven"))
    assert "not committed, which no attempt will see: README.md, staged.txt" in unseen
    assert project.merged() == ["alpha", "beta"]
    assert project.file("beta.txt") == "beta done"
    # The user's own branch, files and index are as they were.
    assert (index.read_bytes(), project.git("rev-parse", "main")) == mine
    assert project.git("status", "--porcelain") == " M README.md\nA  staged.txt\n"
    assert project.git("worktree", "list").count("\n") == 1
    # Only `passes` was written.
    given = json.loads(project.list.read_text("utf-8"))
    assert [feature.pop("passes") for feature in given["features"]] == [True, True]
    assert given == json.loads(before)
    body = project.git("log", "-1", "--format=%B", "autopilot").strip().splitlines()
    assert body == [
        "Write beta.txt.",
        "",
        "Feature: beta",
        "Attempt: beta/r1-a01",
        f"Run: {project.runs[-1]}",
    ]
    project.assert_nothing_left()


@pytest.mark.long
def test_what_a_run_writes_itself_is_no_uncommitted_change(project: Project) -> None:
    """The workspace may be the repository."""
    project.workspace.rename(project.folder / "old")
    project.workspace = project.repo
    project.list = project.repo / "feature_list.json"
    project.recordings = project.repo / "recordings"
    project.recordings.mkdir()
    project.project["repo"] = "."
    project.simple("alpha")
    project.store()
    project.git("add", "--all")
    project.git("commit", "--quiet", "-m", "The list")
    learned = Path(__file__).parents[2] / "learned_patterns.json"
    (project.repo / learned.name).write_bytes(learned.read_bytes())
    for more in ("beta", "gamma"):
        assert project.run().code == 0
        said = [e["message"] for e in project.events("WarningGiven")]
        assert not any("not committed" in text for text in said)
        project.simple(more)
        project.list.unlink()
        project.store()  # the recordings are the harness's to read, and so is:
        (project.repo / "agents.yaml").write_text("mine: {command: [x]}\n")


def test_evidence_and_report(project: Project) -> None:
    two_features(project)
    assert project.run().code == 0
    for feature in ("alpha", "beta"):
        folder = project.run_folder / feature / "r1-a01"
        assert [n for n in ARTIFACTS if not (folder / n).stat().st_size] == []
    commands = (project.workspace / "logs" / "agent-commands.jsonl").read_text().splitlines()
    assert {json.loads(line)["run"] for line in commands} == set(project.runs)
    assert "beta" in (project.workspace / "claude_progress.md").read_text()
    assert "beta" in (project.run_folder / "report.md").read_text()
    report = project.report()
    assert report["run"] == project.runs[-1]
    assert report["repo"] == str(project.repo)
    assert report["branch"] == "autopilot"
    assert report["cost_usd"] == 0
    assert report["seconds"] > 0
    assert report["anomalies"] == []
    merged = {f["commit"] for f in report["features"]}
    assert merged == set(project.git("log", "--format=%H", "main..autopilot").split())
    for feature in report["features"]:
        assert feature["state"] == "merged"
        assert feature["attempt"] == "r1-a01"
        assert feature["reasons"]
    for event in project.events():
        assert event["time"]
        assert event["run"] == project.runs[-1]
    assert project.events()[-1]["type"] == "RunFinished"


@pytest.mark.slow
def test_each_base_is_told_of_with_what_it_took(make: Callable[..., Project]) -> None:
    """The first commit is the same in both projects, and made ready once."""
    found = []
    for name in ("one", "two"):
        project = make(name)
        project.cache = project.folder.parent / "cache"
        project.simple("alpha")
        assert project.run().code == 0
        bases = project.events("BasePrepared")
        assert bases[0]["commit"] == project.git("rev-parse", "main").strip()
        assert all(base["seconds"] >= 0 for base in bases)
        found.append(bases[0]["cached"])
    assert found == [False, True]


@pytest.mark.long
def test_a_recording_that_is_missing_is_the_reason_in_the_end(project: Project) -> None:
    project.defaults["attempts"] = 2
    project.feature("alpha")
    end = project.run()
    assert end.code == 1
    (reason,) = project.report()["features"][0]["reasons"]
    assert "no attempt left anything to choose from: r1-a01: RecordingMismatchError: " in reason
    assert "alpha" in reason.partition("RecordingMismatchError")[2]


@pytest.mark.long
def test_a_failed_feature_names_the_command_that_failed(project: Project) -> None:
    project.feature("alpha")
    project.record("alpha", writes("alpha.txt", "wrong"))
    end = project.run()
    assert end.code == 1
    (line,) = (ln for ln in end.out.splitlines() if ln.startswith("failed alpha: "))
    assert "r1-a01, passed 0 of 1: sh checks/has.sh alpha: exit 1" in line


@pytest.mark.long
def test_the_same_command_again_has_nothing_to_do(project: Project) -> None:
    project.simple("alpha")
    assert project.run().code == 0
    logs = sorted(p.name for p in (project.workspace / "logs").iterdir())
    head = project.git("rev-parse", "autopilot")
    end = project.run()
    assert end.code == 0
    assert "nothing to do" in end.out
    assert sorted(p.name for p in (project.workspace / "logs").iterdir()) == logs
    assert project.git("rev-parse", "autopilot") == head


@pytest.mark.long
def test_json_lines_with_the_report_last(project: Project) -> None:
    project.simple("alpha")
    end = project.run("--json")
    lines = [json.loads(line) for line in end.out.splitlines()]
    assert end.code == 0
    assert [line["type"] for line in lines[:-1]] == [e["type"] for e in project.events()]
    assert lines[-1] == project.report()


@pytest.mark.long
def test_only_what_was_asked_for(project: Project) -> None:
    project.simple("alpha", "gamma")
    project.feature("beta", "alpha")
    project.record("beta", writes("beta.txt", "beta done"))
    end = project.run("--only", "beta")
    assert end.code == 2
    assert "--only alpha" in end.err
    assert project.run("--only", "alpha", "--only", "beta").code == 0
    assert project.states() == {"alpha": "merged", "beta": "merged", "gamma": "skipped"}
    assert project.run("--only", "gamma").code == 0
    assert sorted(project.merged()) == ["alpha", "beta", "gamma"]


@pytest.mark.long
def test_attempts_rounds_and_workers_by_flag(project: Project) -> None:
    project.feature("alpha")
    project.record("alpha", writes("alpha.txt", "wrong"))
    end = project.run("--attempts", "2", "--rounds", "2", "--workers", "1")
    assert end.code == 1
    started = [
        (e["type"], e["attempt"]) for e in project.events("AttemptStarted", "AttemptFinished")
    ]
    names = ["r1-a01", "r1-a02", "r2-a01", "r2-a02"]
    # One worker: no attempt begins before the one before has ended.
    assert started == [(t, n) for n in names for t in ("AttemptStarted", "AttemptFinished")]


@pytest.mark.long
def test_without_isolation_only_with_a_warning(make: Callable[..., Project]) -> None:
    project = make(sandbox="process")
    project.simple("alpha")
    end = project.run()
    assert end.code == 0
    assert any("no isolation" in e["message"] for e in project.events("WarningGiven"))
    assert "isolation" in end.out.lower()
    project.assert_nothing_left()
