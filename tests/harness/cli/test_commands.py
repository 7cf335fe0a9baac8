"""`status`, `report`, `list` and `resume` over runs on file: as text, and as JSON for programs."""

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import runner
from harness.cli import commands
from harness.record.workspace import Workspace

FIRST, SECOND, THIRD = "20260101-000000-aaaa", "20260102-000000-bbbb", "20260103-000000-cccc"
REPORT_KEYS = {"run", "repo", "branch", "cost_usd", "seconds", "features"}
FEATURE_KEYS = {"id", "state", "attempt", "commit", "reasons"}


def write_run(workspace: Path, run: str, *ends: dict[str, Any], pid: int = 2**22 + 1) -> None:
    """A run of the feature `api`; the pid is one that no process has, unless given."""
    folder = workspace / "logs" / run
    folder.mkdir(parents=True)
    begun = {"type": "RunStarted", "repo": "/r", "branch": "autopilot", "base": "c" * 40,
             "features": {"api": {}}, "pid": pid, "model": "scripted"}  # fmt: skip
    with (folder / "events.jsonl").open("w") as file:
        for number, event in enumerate((begun, *ends)):
            named = {"type": event["type"], "time": f"2026-01-01T00:00:{number:02d}.000Z",
                     "run": run, **event}  # fmt: skip
            file.write(json.dumps(named, separators=(",", ":")) + "\n")


MERGED = {"type": "FeatureMerged", "feature": "api", "attempt": "r1-a01", "commit": "d" * 40,
          "reasons": ["it was best"]}  # fmt: skip
FINISHED = {"type": "RunFinished", "exit_code": 0}
STOPPED = {"type": "RunStopped", "exit_code": 130, "reason": "interrupted by SIGINT"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """One run that ended, one that was stopped, and the newest, which was killed."""
    write_run(tmp_path, FIRST, MERGED, FINISHED)
    write_run(tmp_path, SECOND, STOPPED)
    write_run(tmp_path, THIRD)
    return tmp_path


Ask = Callable[..., str]


@pytest.fixture
def ask(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ask:
    monkeypatch.chdir(workspace)

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert runner.main(list(words)) == code
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def test_list(ask: Ask) -> None:
    lines = ask("list").splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["run", THIRD, SECOND, FIRST]
    assert "not finished" in lines[1]
    assert "interrupted by SIGINT" in lines[2]
    assert lines[3].split()[1:] == ["finished", "0"]
    assert json.loads(ask("list", "--json")) == [
        {"run": THIRD, "finished": False, "exit_code": None},
        {"run": SECOND, "finished": False, "exit_code": 130},
        {"run": FIRST, "finished": True, "exit_code": 0},
    ]


def test_status_of_a_killed_run_says_so_and_how_to_go_on(ask: Ask) -> None:
    out = ask("status")
    assert out.startswith(f"run {THIRD}: killed: its process ")
    assert "`fibreflow resume` goes on" in out


def test_status_of_a_stopped_run_says_why(ask: Ask) -> None:
    assert "stopped: interrupted by SIGINT; `fibreflow resume` goes on" in ask("status", SECOND)
    assert "finished, exit code 0" in ask("status", FIRST)


def test_only_the_run_at_work_is_called_running(ask: Ask, workspace: Path) -> None:
    """Which one that is says who holds the workspace, before the first event already."""
    newer = "20260105-120000-dddd"
    (workspace / "logs" / newer).mkdir()
    (workspace / "logs" / newer / "events.jsonl").touch()
    assert "gone before it began" in ask("status")
    with Workspace(workspace).lock() as sign:
        sign(newer, "")
        assert ask("status").strip() == f"run {newer}: begins"
        assert ": killed: " in ask("status", THIRD).splitlines()[0]
        sign(THIRD, "")  # resumed
        assert ": running, process " in ask("status", THIRD).splitlines()[0]
        assert json.loads(ask("status", THIRD, "--json"))["standing"] == "running"
        assert "stopped" in ask("status", SECOND).splitlines()[0]
        assert ": finished" in ask("status", FIRST).splitlines()[0]
    assert json.loads(ask("status", THIRD, "--json"))["standing"] == "killed"


def test_what_left_with_its_process_is_not_called_running(ask: Ask, workspace: Path) -> None:
    run = "20260106-000000-ffff"
    write_run(workspace, run, {"type": "FeatureStarted", "feature": "api"})
    row = next(line for line in ask("status", run).splitlines() if line.startswith("api "))
    assert row.split()[1] == "stopped"
    (feature,) = json.loads(ask("status", run, "--json"))["features"]
    assert feature["now"] == "stopped"


def test_to_stop_what_is_not_at_work_is_done_already(ask: Ask) -> None:
    for word in ("stop", "drain"):
        assert "nothing to do" in ask(word)


@pytest.mark.parametrize("command", ["status", "report"])
@pytest.mark.parametrize(
    ("run", "state", "commit"),
    [(FIRST, "merged", "d" * 40), (SECOND, "skipped", None), (THIRD, "skipped", None)],
)
def test_json_is_one_object_with_what_a_report_has(
    ask: Ask, command: str, run: str, state: str, commit: str | None
) -> None:
    data = json.loads(ask(command, run, "--json"))
    assert data.keys() >= REPORT_KEYS
    assert (data["run"], data["repo"], data["branch"]) == (run, "/r", "autopilot")
    (feature,) = data["features"]
    assert feature.keys() >= FEATURE_KEYS
    assert (feature["id"], feature["state"], feature["commit"]) == ("api", state, commit)
    assert feature["reasons"]


def test_report_is_the_newest_unless_named(ask: Ask) -> None:
    assert ask("report").startswith(f"# Run {THIRD}")
    named = ask("report", FIRST)
    assert "## Merged (1)" in named
    assert "it was best" in named


def test_resume_of_a_finished_run_says_so(ask: Ask) -> None:
    out = ask("resume", FIRST)
    assert out.startswith(f"nothing to resume: {FIRST} has come to its end, exit code 0")
    assert f"fibreflow report {FIRST}" in out
    assert json.loads(ask("resume", FIRST, "--json"))["run"] == FIRST


def test_resume_gives_the_exit_code_of_what_has_ended(ask: Ask, workspace: Path) -> None:
    run = "20260104-000000-eeee"
    write_run(workspace, run, {"type": "RunFinished", "exit_code": 3})
    assert run in ask("resume", run, code=3)


def test_who_decides_is_whose_process_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not whoever its environment names: an approver could be anybody."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert commands.user() == pwd.getpwuid(os.getuid()).pw_name
