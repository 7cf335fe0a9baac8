"""`kill -9` of the runner at random moments, then the same command: nothing lost, nothing twice.

FIBREFLOW_CHAOS=200 kills in that many more places; the seeds are the numbers of the tests.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.spine.project import Project, bash, says, submit, until, wait, writes

SEEDS = range(int(os.environ.get("FIBREFLOW_CHAOS", "3")))
MOST_KILLS = 3


def build(project: Project) -> None:
    """A diamond: some attempts are right, one is wrong, one would sleep for ever."""
    project.defaults |= {"attempts": 3, "quorum": 1}
    right = {n: writes(f"{n}.txt", f"{n} done") for n in ("a", "b", "c", "d")}
    for name, needs in (("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))):
        project.feature(name, *needs)
        project.record(name, right[name])
    slow = bash(f"echo begun > begun.txt; sleep 60; : {project.marker}")
    project.record("a", [[says("I wait."), slow], [submit()]], "r1-a01")
    project.record("b", writes("b.txt", "wrong"), "r1-a01")
    project.record("c", [[bash("sleep 0.2; true")], *right["c"]], "r1-a02")


def counted(project: Project) -> int:
    return len(project.events())


def kill_when(project: Project, moment: Callable[[], bool], delay: float) -> bool:
    """Start the program and kill it `delay` seconds after the moment; False when it ended."""
    program = project.start("--workers", "4")
    until(lambda: moment() or program.poll() is not None, "the moment to kill")
    time.sleep(delay)  # the moment itself is what is random
    killed = program.poll() is None
    program.send_signal(signal.SIGKILL)
    program.communicate()
    return killed


def finish(project: Project) -> None:
    """The same command until it ends; then all must be as if nothing had happened."""
    before = finished(project)
    end = wait(project.start("--workers", "4"))
    assert end.code == 0, end
    merged = project.merged()
    assert sorted(merged) == ["a", "b", "c", "d"]
    assert merged[0] == "a"
    assert merged[-1] == "d"
    assert len(project.runs) == 1
    project.assert_no_attempt_twice()
    for path, content in before.items():
        assert path.read_bytes() == content, f"{path} was changed after it was finished"
    assert project.report()["anomalies"] == []
    assert set(project.states().values()) == {"merged"}
    assert "begun.txt" not in project.git("ls-tree", "--name-only", "autopilot")
    assert [f["passes"] for f in json.loads(project.list.read_bytes())["features"]] == [True] * 4
    project.assert_nothing_left()


def finished(project: Project) -> dict[Path, bytes]:
    """The transcripts of attempts whose agent is through: they must never grow again."""
    done = project.workspace.glob("logs/*/*/*/attempt.json")
    return {p: p.read_bytes() for p in (d.with_name("transcript.jsonl") for d in done)}


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere(make: Callable[..., Project], seed: int) -> None:
    project = make()
    build(project)
    chance = random.Random(seed)
    for _ in range(chance.randint(1, MOST_KILLS)):
        wanted = counted(project) + chance.randint(0, 25)
        delay = chance.random() * 0.2

        def moment(wanted: int = wanted) -> bool:
            return counted(project) > wanted

        if not kill_when(project, moment, delay):
            break
    finish(project)


@pytest.mark.long
@pytest.mark.parametrize("delay", [0.0, pytest.param(0.03, marks=pytest.mark.slow), 0.08])
def test_killed_in_the_middle_of_a_merge(make: Callable[..., Project], delay: float) -> None:
    project = make()
    build(project)
    kill_when(project, lambda: bool(project.events("MergeStarted")), delay)
    finish(project)


@pytest.mark.long
def test_killed_between_the_branch_and_the_event(make: Callable[..., Project]) -> None:
    project = make()
    build(project)

    def moved() -> bool:
        ref: Any = project.repo / ".git" / "refs" / "heads" / "autopilot"
        main = project.repo / ".git" / "refs" / "heads" / "main"
        return ref.exists() and ref.read_bytes() != main.read_bytes()

    kill_when(project, moved, 0.0)
    finish(project)
