"""What people hear of a run: each news once, merges as a digest, nothing at night."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator import events
from orchestrator.events import Event
from orchestrator.reporting.notices import is_quiet, notice_of
from orchestrator.runs.state import FeatureState, RunState

RUN = replace(
    RunState(),
    run="r1",
    features={
        name: FeatureState(name, state=state)  # type: ignore[arg-type]
        for name, state in (("a", "merged"), ("b", "failed"), ("c", "merged"))
    },
)


@pytest.mark.parametrize(
    ("event", "key", "words"),
    [
        (
            events.RunStarted(repo="", branch="", base="", features={}),
            "r1/started", "began with 3 features",
        ),
        (
            events.ReviewRequested(feature="a", reasons=("why", "so")),
            "r1/review_needed/a", "a waits for a person: why; so",
        ),
        (
            events.BudgetLow(scope="run r1", cap_usd=10, spent_usd=7, reserved_usd=1),
            "r1/budget/run r1", "$8.00 of $10.00",
        ),
        (events.LimitHit(what="the budget"), "r1/limit/the budget", "the budget"),
        (
            events.LimitChanged(model="m", limit=1, why="quota", pause=300),
            "r1/paused/m", "pauses for 300 s: quota",
        ),
        (
            events.RunFinished(exit_code=1), "r1/finished",
            "finished with exit code 1, $0.00: failed b; merged a, c",
        ),
    ],
)  # fmt: skip
def test_news(event: Event, key: str, words: str) -> None:
    notice = notice_of(event, RUN)
    assert notice is not None
    assert notice.key == key
    assert notice.text.startswith("r1: ") and words in notice.text


@pytest.mark.parametrize(
    "event",
    [
        events.FeatureMerged(feature="a", commit="c"),
        events.LimitChanged(model="m", limit=1, why="429", pause=5),
        events.WarningGiven(message="x"),
    ],
)
def test_no_news(event: Event) -> None:
    assert notice_of(event, RUN) is None


@pytest.mark.parametrize(
    ("hour", "quiet", "expected"),
    [
        (3, None, False), (22, (22, 7), True), (23, (22, 7), True), (6, (22, 7), True),
        (7, (22, 7), False), (12, (22, 7), False), (13, (12, 14), True), (14, (12, 14), False),
    ],
)  # fmt: skip
def test_quiet_hours(hour: int, quiet: Any, expected: bool) -> None:
    assert is_quiet(hour, quiet) is expected
