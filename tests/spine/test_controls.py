"""A hand on a run at work: every control of the command line, on the real program."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.spine.project import End, Project, bash, says, until, wait, writes


class Held:
    """A run that waits in `slow` until the test says so; `rest` and what is recorded follow."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.go = project.folder / "go"
        hold = bash(f"until test -e {self.go}; do sleep 0.05; done")
        project.feature("slow")
        project.record("slow", [[says("I wait."), hold], *writes("slow.txt", "slow done")])

    def start(self, *flags: str) -> None:
        self.process = self.project.start("--workers", "1", *flags)
        self.until(lambda: self.project.events("ModelCalled"), "slow is at work")

    def until(self, condition: Callable[[], object], what: str) -> None:
        until(lambda: condition() or self.process.poll() is not None, what)
        assert self.process.poll() is None, wait(self.process)

    def ask(self, *words: str, code: int = 0) -> str:
        end = self.project.run(*words[1:], command=words[0])
        assert end.code == code, end
        return end.out + end.err

    def end(self) -> End:
        self.go.touch()
        return wait(self.process)


@pytest.fixture
def held(tmp_path: Path, new_cache: Callable[[Path], Path]) -> Iterator[Held]:
    made = Held(Project(tmp_path, new_cache(tmp_path / "cache"), sandbox="process"))
    yield made
    made.go.touch()


def names(project: Project, kind: str) -> list[Any]:
    return [e["feature"] for e in project.events(kind)]


@pytest.mark.long
def test_pause_and_resume(held: Held) -> None:
    held.project.simple("next")
    held.start()
    assert "paused" in held.ask("pause")
    assert "nothing to do" in held.ask("pause")
    held.go.touch()
    held.until(lambda: held.project.events("FeatureMerged"), "what was at work is merged")
    assert "next" not in names(held.project, "AttemptStarted")
    status = held.ask("status")
    assert "paused by" in status
    assert "next: waits: the run is paused" in status
    assert "goes on" in held.ask("resume")
    assert held.end().code == 0
    assert sorted(held.project.merged()) == ["next", "slow"]


@pytest.mark.slow
def test_a_pause_outlives_the_process(held: Held) -> None:
    held.project.simple("next")
    held.start()
    held.ask("pause")
    held.process.kill()
    held.process.communicate()
    held.go.touch()
    held.process = held.project.start("--workers", "1")
    held.until(lambda: held.project.events("RunResumed"), "it is back")
    assert "goes on" in held.ask("resume")
    assert held.end().code == 0


@pytest.mark.parametrize("word", ["drain", "stop"])
@pytest.mark.slow
def test_drain_and_stop(held: Held, word: str) -> None:
    held.project.simple("next")
    held.start()
    assert word == "stop" or "drains" in held.ask(word)
    if word == "stop":
        assert "leaves at once" in held.ask(word)
        end = wait(held.process)
    else:
        end = held.end()
    assert end.code == 130, end
    assert f"asked to {word}" in held.project.report()["stopped"]
    assert "next" not in names(held.project, "AttemptStarted")
    assert "nothing to do" in held.ask(word)
    held.go.touch()
    assert held.project.run("--workers", "1").code == 0
    assert sorted(held.project.merged()) == ["next", "slow"]
    held.project.assert_no_attempt_twice()


@pytest.mark.long
def test_retune(held: Held) -> None:
    held.project.feature("next", "slow")
    held.project.record("next", writes("next.txt", "next done"))
    held.start()
    said = held.ask("retune", "--attempts", "2", "--workers", "3", "--budget", "9.5")
    assert "2 attempts" in said
    assert "3 workers" in said
    assert "--attempts, --workers or --budget" in held.ask("retune", code=2)
    assert held.end().code == 0
    rounds = {e["feature"]: e["attempts"] for e in held.project.events("RoundStarted")}
    assert rounds == {"slow": 1, "next": 2}
    assert held.project.report()["budget_usd"] == 9.5


@pytest.mark.slow
def test_requeue(held: Held) -> None:
    """A feature that failed is worked on again, and what it had blocked with it."""
    project = held.project
    project.feature("bad", priority=-1)
    project.record("bad", writes("bad.txt", "wrong"), "r1-a01")
    project.record("bad", writes("bad.txt", "bad done"), "r2-a01")
    project.feature("after", "bad")
    project.record("after", writes("after.txt", "after done"))
    held.start("--workers", "2")
    held.until(lambda: "after" in names(project, "FeatureBlocked"), "bad has failed")
    assert "waits for bad" in held.ask("requeue", "after", code=2)
    assert "again" in held.ask("requeue", "bad")
    held.until(lambda: "after" in names(project, "FeatureMerged"), "both are merged")
    assert "stays so" in held.ask("requeue", "bad", code=2)
    assert held.end().code == 0
    assert project.states() == {"slow": "merged", "bad": "merged", "after": "merged"}
    assert project.report()["anomalies"] == []
    assert [e["round"] for e in project.events("RoundStarted") if e["feature"] == "bad"] == [1, 2]


@pytest.mark.slow
def test_skip(held: Held) -> None:
    """One at work and one that waits are taken out; what depends on them is blocked."""
    project = held.project
    for id_, need in (("after", "slow"), ("late", "after")):
        project.feature(id_, need)
    project.simple("other")
    held.start("--workers", "2")
    assert "taken out" in held.ask("skip", "after")
    held.until(lambda: names(project, "FeatureSkipped"), "it is out")
    assert "nothing to do" in held.ask("skip", "after")
    assert "no feature" in held.ask("skip", "none", code=2)
    assert "taken out" in held.ask("skip", "slow")
    end = wait(held.process)
    assert end.code == 1, end
    assert project.states() == {
        "slow": "skipped", "after": "skipped", "late": "blocked", "other": "merged"
    }  # fmt: skip
    assert project.report()["anomalies"] == []
    assert project.events("AttemptCancelled")


@pytest.mark.slow
def test_looking(held: Held) -> None:
    project = held.project
    project.feature("next", "slow")
    project.record("next", writes("next.txt", "wrong"))
    held.start()
    follow = project.start("--follow", command="logs")
    watch = project.start("--watch", command="status")
    assert "next: waits: for slow" in held.ask("status")
    assert held.end().code == 1
    assert "run" in wait(watch).out
    followed = wait(follow).out
    assert "slow" in followed
    assert held.ask("logs").splitlines()[-1] == followed.splitlines()[-1]
    shown = held.ask("attempt", "show", "slow/r1-a01")
    assert "submitted" in shown
    assert "calls edit" in shown
    assert "+slow done" in shown
    assert held.ask("attempt", "show", "slow", "r1-a01") == shown
    assert "no attempt" in held.ask("attempt", "show", "slow/r9-a01", code=2)
    assert "+slow done" in held.ask("diff", "slow")
    assert "not merged" in held.ask("diff", "next")
    assert "no feature" in held.ask("diff", "none", code=2)


@pytest.mark.long
def test_detached(held: Held) -> None:
    held.go.touch()
    started = held.project.run("--detach")
    assert started.code == 0, started
    assert f"{held.project.runs[0]} runs as process" in started.out
    until(lambda: held.project.events("RunFinished"), "it ends")
    assert held.project.merged() == ["slow"]
    assert "slow" in (held.project.workspace / "logs" / "detached.log").read_text()


@pytest.mark.slow
def test_not_before_holds_and_until_ends(held: Held) -> None:
    """Moments far in the future and long past, so that no test waits for a clock."""
    held.process = held.project.start("--not-before", "2999-01-01T00:00")
    held.until(lambda: held.project.events("FeatureStarted"), "the run has begun")
    assert "not before" in held.ask("status")
    held.ask("stop")
    assert wait(held.process).code == 130
    end = held.project.run("--until", "2001-01-01T00:00")
    assert end.code == 130
    assert "it is past" in held.project.report()["stopped"]
    assert held.project.events("AttemptStarted") == []
    assert "no time" in held.project.run("--until", "noon").err
    held.go.touch()
    assert held.project.run().code == 0
