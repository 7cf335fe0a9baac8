"""Chances shrink towards what happened, and failures make further failures likelier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.routing.odds import (
    Outcome,
    PastOutcomes,
    RoundOutcome,
    chances,
    count,
    outcome_of,
    round_passes,
)
from orchestrator.routing.rules import CHANCE, Rules
from orchestrator.selector import Evidence
from orchestrator.values import TIERS

RULES = Rules()


def test_without_history_the_rules_speak() -> None:
    odds = chances(RULES, "sonnet", PastOutcomes(), category="", agent="builtin")
    assert dict(odds.by_tier) == CHANCE["sonnet"]
    assert odds.why == ""


def test_history_is_weighed_against_the_rules() -> None:
    past = count([Outcome("haiku", "web", "builtin", n < 3) for n in range(12)])
    odds = chances(RULES, "sonnet", past, category="web", agent="builtin")
    # (12 * 0.5 + 3) / (12 + 12), the posterior mean of a Beta.
    assert odds.by_tier["haiku"] == pytest.approx(9 / 24)
    assert odds.by_tier["sonnet"] == CHANCE["sonnet"]["sonnet"]
    assert "3 of 12 on haiku" in odds.why


@given(st.floats(0.05, 0.95), st.integers(0, 40), st.integers(1, 30), st.sampled_from(TIERS))
def test_a_round_is_a_probability_that_falls_with_failures(
    chance, failures, attempts, tier
) -> None:
    some = [RoundOutcome(tier, failures)]
    more = [RoundOutcome(tier, failures + 5)]
    p = round_passes(chance, tier, some, attempts)
    assert 0 <= p <= 1
    assert round_passes(chance, tier, more, attempts) < p
    assert round_passes(chance, tier, some, attempts + 1) > p


def test_one_attempt_without_failures_passes_with_its_chance() -> None:
    assert round_passes(0.3, "haiku", [], 1) == pytest.approx(0.3)


def test_a_cheaper_failure_and_a_near_miss_say_less() -> None:
    def after(*played: RoundOutcome) -> float:
        return round_passes(0.6, "opus", played, 3)

    assert after(RoundOutcome("opus", 5)) < after(RoundOutcome("sonnet", 5))
    assert after(RoundOutcome("sonnet", 5)) < after(RoundOutcome("haiku", 5))
    assert after(RoundOutcome("opus", 5)) < after(RoundOutcome("opus", 5, progress=0.8))


def test_a_round_in_numbers() -> None:
    evidence = [
        Evidence("a", True, (True, False), cost_usd=1.0),
        Evidence("b", True, (True, True), cost_usd=3.0),
        Evidence("c", False, (), cost_usd=None),
    ]
    assert outcome_of("haiku", 4, evidence) == RoundOutcome("haiku", 4, 1, 1.0, 2.0)
    assert outcome_of("haiku", 4, []) == RoundOutcome("haiku", 4)
    unjudged = outcome_of("haiku", 1, [Evidence("a", True, ())])
    assert unjudged.passed == 0
