"""What samples mean for rules, and what a person reads."""

import json
from typing import Any

import pytest

from orchestrator.sla import file as slas_file
from orchestrator.sla.observing import described, observe
from orchestrator.sla.values import Sample, SlaFile, SlaState

PROBE = {"type": "file_age", "path": "x"}


def read(alerts: Any = (), **slas: Any) -> SlaFile:
    slas = {"delay": {"probe": PROBE, "error": 300, "warn": 200}} | slas
    body = {"slas": slas, "alerts": list(alerts)}
    return slas_file.parse(json.dumps(body).encode(), "slas.yaml")


def sample(sla: str, state: SlaState, value: float | None, detail: str = "") -> Sample:
    return Sample(sla, 0.0, state, state, value, detail)


def verdicts(file: SlaFile, *samples: Sample) -> dict[str, str]:
    return {o.rule: o.verdict for o in observe(file, file.rules, {s.sla: s for s in samples})}


@pytest.mark.parametrize(
    ("state", "value", "error", "no_data"),
    [
        ("ok", 1.0, "healthy", "healthy"),
        ("warn", 250.0, "healthy", "healthy"),
        ("error", 400.0, "violated", "healthy"),
        ("no_data", None, "unknown", "violated"),
        ("maintenance", 400.0, "maintenance", "maintenance"),
        ("maintenance", None, "maintenance", "maintenance"),
    ],
)
def test_by_the_state(state: SlaState, value: float | None, error: str, no_data: str) -> None:
    found = verdicts(read(), sample("delay", state, value))
    assert (found["delay/error"], found["delay/no_data"]) == (error, no_data)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (400.0, 400.0, "violated"),
        (400.0, 1.0, "healthy"),
        (None, 400.0, "unknown"),
        (400.0, None, "unknown"),
        ("not sampled", 400.0, None),
    ],
)
def test_by_a_condition_over_two(x: Any, y: Any, expected: str | None) -> None:
    file = read([{"condition": "delay > 300 and y > 300"}], y={"probe": PROBE, "error": 300})
    given = [
        sample(name, "no_data" if value is None else "ok", value)
        for name, value in (("delay", x), ("y", y))
        if value != "not sampled"
    ]
    (rule,) = [rule.key for rule in file.rules if rule.condition]
    assert verdicts(file, *given).get(rule) == expected


def test_maintenance_of_one_silences_a_condition_over_two() -> None:
    file = read([{"condition": "delay > 300 and y > 300"}], y={"probe": PROBE, "error": 300})
    (rule,) = [rule.key for rule in file.rules if rule.condition]
    found = verdicts(file, sample("delay", "maintenance", 400.0), sample("y", "error", 400.0))
    assert found[rule] == "maintenance"


def test_a_message_is_filled_in_and_names_owner_and_runbook() -> None:
    slas = {"delay": {"probe": PROBE, "error": 300, "owner": "data team", "runbook": "docs/x.md"}}
    alert = {"condition": "delay > 300", "message": "{sla}: {delay} of {threshold} ({severity})"}
    file = read([alert], **slas)
    seen = observe(file, file.rules, {"delay": sample("delay", "error", 412.5)})
    texts = [o.text for o in seen if o.rule.startswith("alert")]
    assert texts == ["delay: 412.5 of 300 (error); runbook: docs/x.md; owner: data team"]


@pytest.mark.parametrize(
    ("more", "seen", "words"),
    [
        ({}, ("error", 400.0, ""), "x is 400, allowed up to 300"),
        ({"warn": 200}, ("warn", 250.0, ""), "x is 250, allowed up to 200"),
        ({"breach": "below"}, ("error", 1.0, ""), "x is 1, wanted at least 300"),
        ({}, ("no_data", None, "no file"), "x has no data: no file"),
        ({}, ("no_data", None, ""), "x has no data: nothing measures it"),
    ],
)
def test_a_sample_in_words(more: dict[str, Any], seen: Any, words: str) -> None:
    file = read(x={"probe": PROBE, "error": 300, **more})
    assert described(file.slas["x"], sample("x", *seen)) == words
