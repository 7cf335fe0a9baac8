"""A run of the real program is seen by a collector and a scraper, and its results are passed on."""

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.artifacts.naming import name_of, place_of
from harness.artifacts.opening import VARIABLE
from harness.telemetry.prometheus import ADDRESS
from harness.telemetry.watching import METRICS, OTLP
from tests.chaos.fleet import FleetProject
from tests.emulators.otlp import collector
from tests.spine.project import Project, bash, says, until, wait, writes


@pytest.mark.long
def test_traces_and_metrics_of_a_run_at_work(
    tmp_path: Path, new_cache: Callable[[Path], Path]
) -> None:
    project = Project(tmp_path, new_cache(tmp_path / "cache"), sandbox="process")
    go = tmp_path / "go"
    hold = bash(f"until test -e {go}; do sleep 0.05; done")
    project.feature("slow")
    project.record("slow", [[says("I wait."), hold], *writes("slow.txt", "slow done")])
    with collector() as there:
        project.env = {OTLP: there.url, METRICS: "0", VARIABLE: str(tmp_path / "kept")}
        process = project.start()
        until(lambda: project.events("ModelCalled") or process.poll() is not None, "it is at work")
        url = (project.run_folder / ADDRESS).read_text().strip()
        until(lambda: "fibreflow_attempts_running 1.0" in scrape(url), "the attempt is seen")
        go.touch()
        end = wait(process)
        assert end.code == 0, end
        names = {span.name for span in there.spans}
        (run,) = there.named("run")
    assert {"feature", "invoke_agent builtin", "execute_tool bash", "verification", "merge"} < names
    assert {a.key: a.value.int_value for a in run.attributes}["fibreflow.exit_code"] == 0
    assert len({span.trace_id for span in there.spans}) == 1
    # What came of the attempt is where other machines would look for it.
    patch = (project.run_folder / "slow/r1-a01/patch.diff").read_bytes()
    assert (tmp_path / "kept" / place_of(name_of(patch))).read_bytes() == patch


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.slow
def test_what_workers_do_is_seen_where_the_run_is_held(
    tmp_path: Path, new_cache: Callable[[Path], Path], database: str
) -> None:
    """On one Postgres, with results that pass through a store; then verified and played again."""
    cache = new_cache(tmp_path / "cache")
    fleet = FleetProject(Project(tmp_path, cache, sandbox="process"), database)
    project = fleet.project
    hold = bash("sleep 1")
    for id_ in ("a", "b", "c", "d"):
        project.feature(id_)
        project.record(id_, [[says("I wait."), hold], *writes(f"{id_}.txt", f"{id_} done")])
    fleet.env[VARIABLE] = str(tmp_path / "kept")
    worker = fleet.worker(2)
    try:
        with collector() as there:
            project.env = {**fleet.env, OTLP: there.url}
            end = wait(fleet.run("--workers", "1"))
            assert end.code == 0, end
            assert len(there.named("execute_tool bash")) == 4
            assert len(there.named("invoke_agent builtin")) == 4
        for command in ("verify", "replay"):
            again = project.run(command=command)
            assert again.code == 0, again
        patches = [p.read_bytes() for p in project.run_folder.glob("?/r1-a01/patch.diff")]
        assert len(patches) == 4
        assert all((tmp_path / "kept" / place_of(name_of(patch))).is_file() for patch in patches)
    finally:
        worker.terminate()
        said = wait(worker)
    assert said.code == 0, said
