"""Faults of the machine under a whole run: a full or read-only disk, a killed or broken database, a
clock that jumps, files that were cut. Each stops with its reason or is ridden out; never silent."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spine.project import RUNNER, Project, bash, says, until, writes

#: Runs the program twice in a mount namespace of its own, where `logs` is a small disk.
TWICE = """\
mount -t tmpfs -o {options} none "$1/logs" || exit 99
shift
"$@"; echo "first $?"
{mend}
"$@"; echo "second $?"
"""


@pytest.fixture
def project(tmp_path: Path, new_cache: Callable[[Path], Path]) -> Project:
    return Project(tmp_path, new_cache(tmp_path / "cache"), sandbox="process")


def on_a_disk(project: Project, options: str, mend: str) -> "subprocess.CompletedProcess[str]":
    """Skips where no disk can be mounted by this user."""
    project.store()
    (project.workspace / "logs").mkdir()
    program = [sys.executable, str(RUNNER), "run", "--workspace", str(project.workspace),
               "--plain", "--sandbox", "process", "--workers", "1"]  # fmt: skip
    script = TWICE.format(options=options, mend=mend.format(logs=project.workspace / "logs"))
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", str(project.workspace), *program],
        env={**os.environ, "FIBREFLOW_CACHE": str(project.cache)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr}")
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(project: Project) -> None:
    logs = project.workspace / "logs"
    project.feature("alpha")
    fill = bash(f"test -e {project.folder}/filled || head -c 9000000 /dev/zero > {logs}/filler; "
                f"touch {project.folder}/filled; true")  # fmt: skip
    project.record("alpha", [[says("I fill it."), fill], *writes("alpha.txt", "alpha done")])
    done = on_a_disk(project, "size=3m", "rm {logs}/filler; df {logs} >&2")
    assert "first 5" in done.stdout, done
    assert "No space left" in done.stdout + done.stderr
    assert "second 0" in done.stdout, done
    assert project.merged() == ["alpha"]


@pytest.mark.long
def test_a_read_only_disk_is_refused_at_the_start(project: Project) -> None:
    project.simple("alpha")
    done = on_a_disk(project, "ro,size=3m", "mount -o remount,rw {logs}")
    assert "first 5" in done.stdout, done
    assert "Read-only file system" in done.stderr
    assert "second 0" in done.stdout, done
    assert project.merged() == ["alpha"]


def held(project: Project) -> tuple["subprocess.Popen[str]", Callable[[], None]]:
    """A run whose `alpha` is merged and whose `beta` is at work until it is told to go on."""
    project.simple("alpha")
    project.feature("beta", "alpha")
    wait = bash(f"until test -e {project.folder}/go; do sleep 0.05; done")
    project.record("beta", [[says("I wait."), wait], *writes("beta.txt", "beta done")])
    program = project.start("--workers", "2")

    def at_work() -> bool:
        return any(e["feature"] == "beta" for e in project.events("ModelCalled"))

    until(lambda: at_work() or program.poll() is not None, "beta is at work")
    return program, (project.folder / "go").touch


def kill(program: "subprocess.Popen[str]") -> None:
    program.send_signal(signal.SIGKILL)
    program.communicate()


@pytest.mark.slow
def test_without_the_engines_store_the_run_is_rebuilt_from_the_branch_and_the_logs(
    project: Project,
) -> None:
    program, go = held(project)
    kill(program)
    for path in project.run_folder.glob("engine.sqlite*"):
        path.unlink()
    go()
    again = project.run("--workers", "2")
    assert again.code == 0, again
    assert project.merged() == ["alpha", "beta"]
    assert len(project.runs) == 1
    project.assert_no_attempt_twice()


@pytest.mark.slow
def test_a_store_that_is_no_database_is_named_and_left_alone(project: Project) -> None:
    program, go = held(project)
    kill(program)
    store = project.run_folder / "engine.sqlite"
    for path in project.run_folder.glob("engine.sqlite-*"):
        path.unlink()
    store.write_bytes(b"no database at all" * 300)
    go()
    end = project.run("--workers", "2")
    assert end.code == 5, end
    assert "engine.sqlite" in end.err
    assert "remove the file" in end.err
    assert store.read_bytes().startswith(b"no database")
    store.unlink()
    assert project.run("--workers", "2").code == 0
    assert project.merged() == ["alpha", "beta"]


@pytest.mark.long
def test_a_list_that_was_cut_is_refused_with_its_line_and_nothing_is_lost(project: Project) -> None:
    program, go = held(project)
    kill(program)
    whole = project.list.read_bytes()
    project.list.write_bytes(whole[: len(whole) // 2])
    go()
    end = subprocess.run(
        [sys.executable, str(RUNNER), "resume", "--workspace", str(project.workspace)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert end.returncode == 2, end
    assert "feature_list.json" in end.stderr
    assert "line" in end.stderr
    assert project.list.read_bytes() == whole[: len(whole) // 2]
    project.list.write_bytes(whole)
    assert project.run("--workers", "2").code == 0
    assert project.merged() == ["alpha", "beta"]
    assert len(project.runs) == 1


@pytest.mark.slow
def test_a_log_whose_last_line_was_cut_is_kept_beside_and_said(project: Project) -> None:
    program, go = held(project)
    kill(program)
    events = project.run_folder / "events.jsonl"
    transcript = project.run_folder / "beta" / "r1-a01" / "transcript.jsonl"
    events.write_bytes(events.read_bytes()[:-9])
    transcript.write_bytes(transcript.read_bytes()[:-9])
    go()
    assert project.run("--workers", "2").code == 0
    assert events.with_name("events.jsonl.torn").exists()
    assert any("cut off by a crash" in e["message"] for e in project.events("WarningGiven"))
    notes = [line.get("kind") for line in project.transcript("beta") if line["type"] == "note"]
    assert "cut" in notes
    assert project.merged() == ["alpha", "beta"]


@pytest.mark.slow
def test_what_an_older_version_began_is_refused_with_the_command_that_finishes_it(
    project: Project,
) -> None:
    program, go = held(project)
    kill(program)
    with sqlite3.connect(project.run_folder / "engine.sqlite") as store:
        store.execute("UPDATE workflow_status SET application_version = '0'")
    store.close()
    go()
    end = project.run("--workers", "2")
    assert end.code == 5, end
    assert "version 0" in end.err
    assert "engine.sqlite" in end.err
    (project.run_folder / "engine.sqlite").unlink()
    assert project.run("--workers", "2").code == 0
    assert project.merged() == ["alpha", "beta"]


@pytest.mark.slow
def test_a_clock_set_back_changes_no_order_and_no_duration(project: Project) -> None:
    program, go = held(project)
    kill(program)
    run = project.runs[0]
    ahead = "99991231-235958-aaaa"
    (project.workspace / "logs" / run).rename(project.workspace / "logs" / ahead)
    path = project.workspace / "logs" / ahead / "events.jsonl"
    text = path.read_text().replace('"time":"20', '"time":"99').replace(run, ahead)
    path.write_text(text)
    go()
    project.entries[0]["description"] = "Another list, so another run."
    project.list.unlink()
    assert project.run("--workers", "2").code == 0
    # The new run is the newest all the same, which `status` and `report` go by.
    assert project.runs == [ahead, project.runs[-1]]
    assert json.loads((project.run_folder / "report.json").read_text())["seconds"] < 1000
