"""What a run answers to a person's request, by its state."""

from dataclasses import replace

import pytest

from orchestrator.runs import controls
from orchestrator.runs.controls import Control, Kind
from orchestrator.runs.course import Asked, FeatureState, RunState

RUN = RunState(
    pid=7,
    features={
        "open": FeatureState("open", state="running"),
        "done": FeatureState("done", state="merged"),
        "lost": FeatureState("lost", state="failed", again=1),
        "stuck": FeatureState("stuck", state="blocked", blocked_on="lost"),
    },
)


def answer(kind: Kind, feature: str | None = None, run: RunState = RUN, process: int = 0) -> str:
    return controls.answer(Control("1", kind, "me", feature, process=process), run)


@pytest.mark.parametrize(
    ("kind", "feature", "words"),
    [
        ("pause", None, "paused"),
        ("resume", None, "nothing to do"),
        ("drain", None, "drains"),
        ("stop", None, "leaves at once"),
        ("skip", "open", "open is taken out"),
        ("skip", "lost", "nothing to do"),
        ("skip", "done", "refused: done is merged"),
        ("skip", "else", "refused: no feature of this run is called else"),
        ("requeue", "lost", "lost is worked on again"),
        ("requeue", "open", "nothing to do"),
        ("requeue", "done", "refused"),
        ("requeue", "stuck", "refused: stuck waits for lost"),
    ],
)
def test_answers(kind: Kind, feature: str | None, words: str) -> None:
    assert words in answer(kind, feature)


def test_asked_twice_is_done_once() -> None:
    assert "nothing to do" in answer("pause", run=replace(RUN, paused="me"))
    assert "goes on" in answer("resume", run=replace(RUN, paused="me"))
    assert "nothing to do" in answer("drain", run=replace(RUN, draining="x"))


def test_a_stop_for_a_process_that_is_gone_stops_no_other() -> None:
    assert "refused" in answer("stop", process=6)
    assert "leaves" in answer("stop", process=7)


def test_what_a_crash_cut_short_is_left_to_do() -> None:
    lost, open_ = RUN.features["lost"], RUN.features["open"]
    assert controls.is_left(Asked("requeue", "me", 1), lost)
    assert not controls.is_left(Asked("requeue", "me", 0), lost)  # done, and it failed again
    assert controls.is_left(Asked("skip", "me", 0), open_)
    assert not controls.is_left(Asked("skip", "me", 1), lost)


def test_a_request_survives_the_book_and_others_are_refused() -> None:
    asked = Control("1", "retune", "me", attempts=3, budget_usd=2.5)
    assert controls.from_json(controls.to_json(asked)) == asked
    assert "3 attempts" in controls.answer(asked, RUN)
    assert "$2.50" in controls.answer(asked, RUN)
    with pytest.raises(ValueError):
        controls.from_json({**controls.to_json(asked), "kind": "explode"})
