"""Prices are those of `genai-prices`, per call, and the worst case is never less than the bill."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.prices import MODEL_IDS, cost_usd, worst_case_usd
from harness.ports import ModelRequest
from orchestrator.values import TIERS, Usage
from tests.harness.agents.workbench import KEY

MILLION = 1_000_000


def request(words: str, model: str = "claude-sonnet-5-5", max_tokens: int = 1_000) -> ModelRequest:
    message = {"role": "user", "content": [{"type": "text", "text": words}]}
    return ModelRequest(KEY, 1, model, (), (), (message,), max_tokens)


def test_every_tier_has_a_model_with_a_price():
    assert set(MODEL_IDS) == set(TIERS)
    costs = [cost_usd(MODEL_IDS[tier], Usage(1000, 1000)) for tier in TIERS]
    assert None not in costs and costs == sorted(costs)


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(), 0.0),
        (Usage(input=MILLION), 2.0),
        (Usage(output=MILLION), 10.0),
        (Usage(cache_read=MILLION), 0.1),
        (Usage(cache_write=MILLION), 2.5),
        (Usage(100_000, 10_000, 200_000, 50_000), 0.2 + 0.1 + 0.02 + 0.125),
    ],
)
def test_each_kind_of_token_has_its_price(usage, dollars):
    assert cost_usd("claude-sonnet-5-5", usage) == pytest.approx(dollars)


def test_the_cliff_counts_all_input_of_one_request():
    below = cost_usd("claude-haiku-5-5", Usage(50_000, 1_000, cache_read=50_000))
    above = cost_usd("claude-haiku-5-5", Usage(50_001, 1_000, cache_read=50_000))
    assert above == pytest.approx(5 * below, rel=1e-3)


def test_an_unknown_model_has_no_price_rather_than_none_to_pay():
    assert cost_usd("my-model", Usage(1, 1)) is None
    assert worst_case_usd(request("hello", model="my-model")) is None


@settings(max_examples=50, deadline=None)
@given(words=st.text(max_size=300), output=st.integers(0, 1_000), cached=st.floats(0, 1))
def test_no_bill_exceeds_the_worst_case(words, output, cached):
    """Were every byte a token, however it is split between plain, read and written input."""
    worst = worst_case_usd(request(words))
    tokens = len(words.encode()) + 1_000
    written = int(tokens * cached)
    bill = cost_usd(
        "claude-sonnet-5-5", Usage(tokens - written, output, cache_read=0, cache_write=written)
    )
    assert worst >= bill


def test_a_larger_answer_may_cost_more():
    assert worst_case_usd(request("x", max_tokens=16_000)) > worst_case_usd(request("x"))


def test_a_known_bound_makes_the_reservation_closer_and_never_looser():
    words = "x" * 100_000
    loose = worst_case_usd(request(words))
    close = worst_case_usd(replace(request(words), input_bound=20_000))
    assert close < loose / 3
    assert worst_case_usd(replace(request(words), input_bound=10**9)) == loose
