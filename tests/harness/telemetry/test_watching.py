"""A run's events reach a collector over a socket, and a scraper; neither can hold the run up."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.git import Repository
from harness.record.journal import Journal, read_events
from harness.services import Services
from harness.telemetry.prometheus import ADDRESS
from harness.telemetry.watching import METRICS, OTLP, watching
from orchestrator import events as e
from orchestrator.errors import InputError
from orchestrator.values import Feature, FeatureList, Project
from tests.emulators.otlp import collector
from tests.fakes.checker import Unasked
from tests.fakes.services import services
from tests.orchestrator.run_script import attempt, merged, run_started, started

GIVEN = FeatureList((Feature("disk", "Add disk."),), Project(repo="repo"))
WORK = [*attempt("disk", "r1-a01"), *merged("disk", "r1-a01"), e.RunFinished(exit_code=0)]
TRANSCRIPT: list[dict[str, Any]] = [
    {"type": "reply", "time": 11.0, "elapsed": 0, "content": [
        {"type": "tool_use", "id": "t1", "name": "bash", "input": {}}
    ]},
    {"type": "results", "time": 12.0, "elapsed": 1, "content": [
        {"type": "tool_result", "tool_use_id": "t1"}
    ]},
]  # fmt: skip


@pytest.fixture
def wired(tmp_path: Path, repository: Repository, journal: Journal) -> Services:
    """A run that has begun in this process."""
    for event in (run_started(), *started("disk")):
        journal.write(event)
    made = services(tmp_path, GIVEN, repository, journal, Unasked())
    folder = made.run_folder / "disk" / "r1-a01"
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(line) + "\n" for line in TRANSCRIPT)
    (folder / "transcript.jsonl").write_text(lines)
    return made


def happen(wired: Services, script: list[e.Event] = WORK) -> None:
    for event in script:
        wired.journal.write(event)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_nothing_listens_unless_it_is_asked_for(wired: Services) -> None:
    with watching(wired, {OTLP: " ", METRICS: ""}):
        happen(wired)
    assert not (wired.run_folder / ADDRESS).exists()


@pytest.mark.parametrize("folder", ["r1-a01", "r1-a01.g2"])
def test_a_collector_gets_the_whole_tree(wired: Services, folder: str) -> None:
    """Also where the attempt was at work on another machine, in a folder of its generation."""
    made = wired.run_folder / "disk"
    (made / "r1-a01").rename(made / folder)
    with collector() as there:
        with watching(wired, {OTLP: f"{there.url}/"}):
            happen(wired)
        by_id = {span.span_id: span for span in there.spans}
        told = {(s.name, by_id[s.parent_span_id].name) for s in there.spans if s.parent_span_id}
    assert told == {
        ("feature", "run"),
        ("invoke_agent builtin", "feature"),
        ("chat demo-1", "invoke_agent builtin"),
        ("execute_tool bash", "invoke_agent builtin"),
        ("merge", "feature"),
    }
    assert len({span.trace_id for span in there.spans}) == 1
    (chat,) = there.named("chat demo-1")
    facts = {a.key: a.value.int_value for a in chat.attributes}
    assert facts["gen_ai.usage.input_tokens"] == 100
    assert there.resources[0]["service.name"] == "fibreflow"


def test_a_collector_that_is_not_there_is_said_once_and_holds_nothing_up(
    wired: Services, journal: Journal, capfd: pytest.CaptureFixture[str]
) -> None:
    with watching(wired, {OTLP: f"http://127.0.0.1:{free_port()}"}):
        happen(wired)
    (warned,) = (x for x in read_events(journal.path) if isinstance(x, e.WarningGiven))
    assert "do not arrive" in warned.message
    assert capfd.readouterr().err == ""


def scraped(wired: Services) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and the values of its labels; read by the library's own parser."""
    url = (wired.run_folder / ADDRESS).read_text().strip()
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return {(s.name, tuple(s.labels.values())): s.value for s in samples}


def test_metrics_are_scraped_while_the_run_is_at_work(wired: Services) -> None:
    with watching(wired, {METRICS: "127.0.0.1:0"}):
        # What came before is counted; `WORK` is taken by another thread, in its own time.
        assert scraped(wired)["fibreflow_rounds_total", ("",)] == 1
        happen(wired)
        until(lambda: ("fibreflow_merges_total", ("merged",)) in scraped(wired))
        found = scraped(wired)
        url = (wired.run_folder / ADDRESS).read_text().strip()
    assert found["fibreflow_tokens_total", ("demo-1", "output")] == 50
    assert found["fibreflow_features", ("merged",)] == 2
    name = "gen_ai_client_operation_duration_seconds_bucket"
    assert found[name, ("chat", "demo-1", "+Inf")] == 1
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=10)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
    raise AssertionError("it never came about")


def test_a_port_that_is_taken_is_a_warning(wired: Services, journal: Journal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with watching(wired, {METRICS: str(taken.getsockname()[1])}):
            happen(wired)
    (warned,) = (x for x in read_events(journal.path) if isinstance(x, e.WarningGiven))
    assert "cannot be scraped" in warned.message


@pytest.mark.parametrize(
    ("name", "value"), [(OTLP, "collector:4317"), (METRICS, "nine"), (METRICS, "host:70000")]
)
def test_a_setting_that_cannot_be_read_is_refused(wired: Services, name: str, value: str) -> None:
    with pytest.raises(InputError, match=name), watching(wired, {name: value}):
        raise AssertionError("it began")
