"""The spans of a written-out run: their tree, their names, their times, and what they tell."""

from collections import Counter
from dataclasses import replace

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as conventions
from opentelemetry.semconv.attributes import error_attributes

from orchestrator import events as e
from orchestrator.reporting.traces import Span, Traces
from orchestrator.values import Usage
from tests.orchestrator.run_script import attempt, run_started, started, timed, whole_run

WHO = {"feature": "disk", "attempt": "r1-a01"}


def spans(script: list[e.Event], traces: Traces | None = None) -> list[Span]:
    traces = traces or Traces()
    return [span for event in script for span in traces.apply(event)]


def ended(script: list[e.Event]) -> list[Span]:
    more = timed([e.RunFinished(exit_code=1)], start=1000)
    return spans([*script, *more])


def test_every_span_hangs_below_the_run() -> None:
    found = ended(whole_run())
    by_id = {span.id: span for span in found}
    assert len(by_id) == len(found)
    assert len({span.trace for span in found}) == 1
    (root,) = (span for span in found if span.parent is None)
    assert root.name == "run"
    parents = {(s.name, by_id[s.parent].name) for s in found if s.parent is not None}
    assert parents == {
        ("feature", "run"),
        ("invoke_agent builtin", "feature"),
        ("chat demo-1", "invoke_agent builtin"),
        ("verification", "invoke_agent builtin"),
        ("merge", "feature"),
    }
    assert Counter(span.name for span in found)["invoke_agent builtin"] == 6


def test_names_are_those_of_the_conventions() -> None:
    traces = Traces()
    found = spans(timed([run_started(), *started("disk"), *attempt("disk", "r1-a01")]), traces)
    found += traces.tool_calls("disk", "r1-a01", TRANSCRIPT)
    known = {getattr(conventions, name) for name in dir(conventions) if name.startswith("GEN_AI_")}
    known |= {error_attributes.ERROR_TYPE}
    used = {name for span in found for name in span.attributes if not name.startswith("fibreflow.")}
    assert used <= known
    operations = {v.value for v in conventions.GenAiOperationNameValues}
    for span in found:
        operation = span.attributes.get("gen_ai.operation.name")
        assert operation in operations
        assert span.name.startswith(f"{operation} ")


def test_a_model_call_tells_its_time_and_all_that_it_read_as_input() -> None:
    call = e.ModelCalled(
        **WHO, turn=2, model="m", usage=Usage(10, 20, 300, 4), cost_usd=0.5, seconds=3.0
    )
    (span,) = spans(timed([call], start=10))
    assert span.end - span.begin == 3.0
    assert span.client
    told = {k.removeprefix("gen_ai.usage."): v for k, v in span.attributes.items() if "usage" in k}
    assert told == {
        "input_tokens": 314,
        "output_tokens": 20,
        "cache_read.input_tokens": 300,
        "cache_creation.input_tokens": 4,
    }
    assert span.attributes["fibreflow.cost_usd"] == 0.5
    unknown = replace(call, usage=None, cost_usd=None)
    (span,) = spans(timed([unknown]))
    assert not [k for k in span.attributes if "usage" in k or "cost" in k]


TRANSCRIPT = [
    {"type": "start", "time": 10.0},
    {"type": "reply", "time": 11.0, "content": [
        {"type": "text", "text": "x"},
        {"type": "tool_use", "id": "t1", "name": "bash", "input": {}},
        {"type": "tool_use", "id": "t2", "name": "edit", "input": {}},
    ]},
    {"type": "results", "time": 13.0, "content": [{"type": "tool_result", "tool_use_id": "t1"}]},
    {"type": "results", "time": 13.5, "content": [
        {"type": "tool_result", "tool_use_id": "t2", "is_error": True}
    ]},
]  # fmt: skip


def test_tool_calls_are_read_from_the_transcript() -> None:
    traces = Traces()
    spans(timed([run_started()]), traces)
    bash, edit = traces.tool_calls("disk", "r1-a01", TRANSCRIPT)
    assert (bash.name, bash.begin, bash.end, bash.error) == ("execute_tool bash", 11.0, 13.0, "")
    assert (edit.name, edit.begin, edit.end) == ("execute_tool edit", 13.0, 13.5)
    assert edit.error
    assert edit.attributes["error.type"]


def test_a_run_that_goes_on_stays_one_trace() -> None:
    stopped = e.RunStopped(exit_code=130, reason="asked to stop")
    rest = [e.FeatureMerged(feature="disk", commit="c"), e.RunFinished(exit_code=0)]
    script = timed([run_started(), *started("disk"), stopped, e.RunResumed(pid=2), *rest])
    first, feature, second = spans(script)
    assert [first.name, second.name] == ["run", "run"]
    assert (first.parent, second.parent, feature.parent) == (None, first.id, first.id)
    assert first.error == "asked to stop"
    assert (first.trace, second.trace) == (feature.trace, feature.trace)
    # After a kill there is no end of the first stretch: it goes on.
    killed = [event for event in script if event.type != "RunStopped"]
    assert [span.name for span in spans(killed)] == ["feature", "run"]


def test_another_process_says_the_same() -> None:
    assert ended(whole_run()) == ended(whole_run())


def test_what_is_worked_on_again_is_another_span() -> None:
    failed = e.FeatureFailed(feature="disk", reason="no")
    again = [e.FeatureStarted(feature="disk", again=1), replace(failed, again=1)]
    first, second = spans(timed([run_started(), *started("disk"), failed, *again]))
    assert first.id != second.id
    refused = [e.MergeStarted(**WHO, onto="a"), e.MergeRejected(**WHO, onto="a", reason="red")]
    taken = [e.MergeStarted(**WHO, onto="b"), e.MergeFinished(**WHO, commit="c")]
    red, green = spans(timed([*refused, *taken]))
    assert red.id != green.id
    assert (red.error, green.error) == ("red", "")


@pytest.mark.parametrize("event", whole_run(), ids=lambda event: str(event.key))
def test_no_event_is_too_strange(event: e.Event) -> None:
    """Without anything before it, as in a journal that was cut, or without a time."""
    for alone in (event, replace(event, time="")):
        assert all(span.name.startswith("chat") for span in Traces().apply(alone))
