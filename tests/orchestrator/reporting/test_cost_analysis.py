"""The ledger is every call once; tables add up; what is unknown is counted and never zero."""

from datetime import date

import pytest

from orchestrator import events as e
from orchestrator.events.learning import ReflectionFinished
from orchestrator.reporting.cost_analysis import (
    BYS,
    analyze,
    ledger,
    project,
    savings,
    table,
    to_json,
)
from orchestrator.values import Usage

#: Dollars per token: input, output, cache read, cache write.
PRICES = {"haiku-9": (1, 5, 0.1, 1.25), "sonnet-9": (3, 15, 0.3, 3.75)}
TODAY = date(2026, 11, 10)


def price(model: str, usage: Usage) -> float | None:
    if model not in PRICES:
        return None
    put_in, out, read, write = PRICES[model]
    return (
        usage.input * put_in
        + usage.output * out
        + usage.cache_read * read
        + usage.cache_write * write
    )


def begun(feature: str, attempt: str = "r1-a01", *, tier="haiku", run="R1", source="live"):
    return e.AttemptStarted(
        feature=feature,
        attempt=attempt,
        run=run,
        model=f"{tier}-9",
        agent="builtin",
        source=source,
        tier=tier,
    )


def called(feature: str, turn: int, usage: Usage | None, *, day=1, run="R1", attempt="r1-a01", tier="haiku"):  # fmt: skip  # noqa: E501
    model = f"{tier}-9"
    cost = price(model, usage) if usage is not None else None
    time = f"2026-11-{day:02}T10:00:00.000Z"
    return e.ModelCalled(feature=feature, attempt=attempt, run=run, time=time, turn=turn,
                         model=model, usage=usage, cost_usd=cost)  # fmt: skip


HAPPENED = [
    begun("a"),
    called("a", 1, Usage(10, 2, 0, 100)),
    called("a", 2, Usage(10, 2, 100, 0), day=2),
    begun("b", tier="sonnet"),
    called("b", 1, Usage(10, 1), day=2, tier="sonnet"),
    called("b", 2, None, day=2, tier="sonnet"),
    e.FeatureMerged(feature="a", run="R1", attempt="r1-a01", commit="c0"),
    begun("c", run="R2", source="recorded"),
    called("c", 1, Usage(1000, 1000), run="R2"),
    e.FeatureMerged(feature="c", run="R2", attempt="r1-a01", commit="c1"),
]
MODELS = {"haiku": "haiku-9", "sonnet": "sonnet-9", "opus": "nobody-knows"}


def analyzed(happened=HAPPENED, **options):
    return analyze(ledger(happened), price=price, models=MODELS, today=TODAY, **options)


@pytest.mark.parametrize("by", BYS)
def test_every_table_adds_up_to_the_whole(by):
    found = analyzed()
    rows = found.tables[by]
    assert sum(row.calls for row in rows) == found.total.calls == 4
    assert sum(row.usd for row in rows) == pytest.approx(found.total.usd)
    assert sum(row.unknown for row in rows) == found.total.unknown == 1
    assert sum((row.usage for row in rows), Usage()) == found.total.usage


def test_rows_are_named_by_who_asked_and_dearest_first():
    calls = ledger(HAPPENED[:6]).calls
    assert [(r.name, r.calls) for r in table(calls, "tier")] == [("haiku", 2), ("sonnet", 2)]
    assert [r.name for r in table(calls, "feature")] == ["a", "b"]
    assert [r.name for r in table(calls, "agent")] == ["builtin"]
    assert [r.name for r in table(calls, "day")] == ["2026-11-01", "2026-11-02"]


def test_what_a_reflection_costs_is_named_so():
    asked = ReflectionFinished(feature="a", attempt="r1-a01", run="R1", pattern="p",
                               model="haiku-9", usage=Usage(1, 1), cost_usd=6.0)  # fmt: skip
    (call,) = ledger([begun("a", tier="opus"), asked]).calls
    assert (call.agent, call.tier, call.cost_usd) == ("reflection", "haiku", 6.0)


@pytest.mark.parametrize(("source", "tier"), [("recorded", "opus"), ("live", "sonnet")])
def test_what_is_played_back_counts_for_the_tier_that_was_asked(source, tier):
    asked = called("a", 1, Usage(1, 1), tier="opus")
    (call,) = ledger([begun("a", tier="sonnet", source=source), asked]).calls
    assert call.tier == tier


def test_the_same_tokens_without_a_cache_are_what_was_saved():
    found = savings(ledger(HAPPENED[:3]).calls, price)
    # with: (10 + 2*5 + 125) + (10 + 10 + 10); without: (110 + 10) twice
    assert (found.paid_usd, found.plain_usd) == (pytest.approx(175), pytest.approx(240))
    assert found.saved_usd == pytest.approx(65)
    assert (found.read, found.written, found.read_share) == (100, 100, pytest.approx(100 / 220))


def test_a_cache_that_nobody_read_cost_more_than_none():
    assert savings(ledger(HAPPENED[:2]).calls, price).saved_usd == pytest.approx(-25)


def test_one_tiers_prices_for_the_same_tokens_and_unknown_where_there_is_none():
    same = analyzed().counterfactual
    assert same["haiku"] == pytest.approx(175 + 15)
    assert same["sonnet"] == pytest.approx(3 * (175 + 15))
    assert same["opus"] is None


def test_a_merged_feature_costs_what_all_attempts_did_and_nothing_unknown():
    known = [event for event in HAPPENED if getattr(event, "usage", 1) is not None]
    assert analyzed(known).per_merged_usd == pytest.approx(175 + 45)
    assert analyzed().per_merged_usd is None
    assert analyzed(HAPPENED[:6]).per_merged_usd is None


def test_recordings_are_counted_on_request_only():
    found, all_of_it = analyzed(), analyzed(recorded=True)
    assert (found.not_charged, found.merged) == (1, 1)
    assert (all_of_it.not_charged, all_of_it.merged) == (0, 2)
    assert all_of_it.total.usd == pytest.approx(found.total.usd + 6000)


def test_a_month_is_projected_from_its_days_so_far():
    calls = ledger(HAPPENED[:3]).calls
    ahead = project(calls, TODAY)
    assert (ahead.month, ahead.days, ahead.of_days) == ("2026-11", 10, 30)
    assert ahead.projected_usd == pytest.approx(3 * 175)
    assert project(calls, date(2026, 12, 31)).spent_usd == 0


def test_nothing_at_all_is_no_error():
    found = analyzed([])
    assert found.total.calls == 0 and found.savings.read_share is None
    assert to_json(found)["usd_per_merged_feature"] is None
