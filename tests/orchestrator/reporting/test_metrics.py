"""The figures of a written-out run, by hand."""

from dataclasses import replace

from orchestrator import events as e
from orchestrator.reporting.metrics import BUCKETS, FAMILIES, Metrics
from orchestrator.values import Usage
from tests.orchestrator.run_script import attempt, run_started, started, timed, whole_run


def folded(script: list[e.Event]) -> Metrics:
    metrics = Metrics()
    for event in script:
        metrics.apply(event)
    return metrics


def figures(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {(family.name, *labels): value for family, labels, value in metrics.values()}


def test_a_whole_run() -> None:
    found = figures(folded(whole_run()))
    assert found["fibreflow_attempts", "demo-1", "builtin"] == 6
    assert found["fibreflow_attempts_ended", "submitted"] == 5
    assert found["fibreflow_attempts_ended", "limit"] == 1
    assert found[("fibreflow_attempts_running",)] == 0
    states = {k[1]: v for k, v in found.items() if k[0] == "fibreflow_features"}
    assert states == {"merged": 2, "failed": 1, "blocked": 1, "review": 1, "waiting": 1}
    assert found["fibreflow_tokens", "demo-1", "input"] == 600
    assert found["fibreflow_cost_usd", "model"] == 1.5
    assert ("fibreflow_cost_unknown",) not in found
    assert found["fibreflow_merges", "merged"] == 1
    assert found["fibreflow_verifications", "passed"] == 1
    assert found[("fibreflow_budget_usd",)] == 5.0
    assert found[("fibreflow_warnings",)] == 1


def test_unknown_cost_is_counted_and_never_zero() -> None:
    script = timed([run_started(), *started("disk"), *attempt("disk", "r1-a01", cost=None)])
    found = figures(folded(script))
    assert found[("fibreflow_cost_unknown",)] == 1
    assert ("fibreflow_cost_usd", "model") not in found


def test_attempts_at_work_are_those_without_an_end() -> None:
    script = timed([run_started(), *started("disk"), *attempt("disk", "r1-a01")[:2]])
    assert figures(folded(script))[("fibreflow_attempts_running",)] == 1
    script += timed([e.AttemptCancelled(feature="disk", attempt="r1-a01", reason="no")])
    found = figures(folded(script))
    assert found[("fibreflow_attempts_running",)] == 0
    assert found["fibreflow_attempts_ended", "cancelled"] == 1


def test_histograms_hold_every_observation_once() -> None:
    call = e.ModelCalled(
        feature="f", attempt="a", turn=1, model="m", usage=Usage(), cost_usd=0.0, seconds=0.0
    )
    times = (0.05, BUCKETS[0], 3.0, 10_000.0)
    metrics = folded(timed([replace(call, seconds=s) for s in times]))
    ((family, labels, found),) = metrics.histograms()
    assert family.name == "gen_ai_client_operation_duration_seconds"
    assert labels == ("chat", "m")
    assert found.counts[0] == 2  # a bound belongs to its bucket
    assert found.counts[BUCKETS.index(5.0)] == 1
    assert found.counts[-1] == 1
    assert found.total == sum(times)


def test_every_sample_has_the_labels_that_its_family_promises() -> None:
    metrics = folded(whole_run())
    for family, labels, _ in [*metrics.values(), *metrics.histograms()]:
        assert FAMILIES[family.name] is family
        assert len(labels) == len(family.labels)
