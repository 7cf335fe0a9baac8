"""A run of the real program is seen by a collector and a scraper, and its results are passed on."""

import urllib.request
from pathlib import Path

import pytest

from harness.artifacts.naming import name_of, place_of
from harness.artifacts.opening import VARIABLE
from harness.telemetry.prometheus import ADDRESS
from harness.telemetry.watching import METRICS, OTLP
from tests.emulators.otlp import collector
from tests.spine.project import Project, bash, says, until, wait, writes


@pytest.mark.long
def test_traces_and_metrics_of_a_run_at_work(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "cache", sandbox="process")
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
