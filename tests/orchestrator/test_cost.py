"""Money: exact sums, unknown is never zero, and a reservation fits or is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cost import Balance, nano_down, nano_up, refusal, total, usd

dollars = st.floats(0, 1e6)


def test_a_sum_with_an_unknown_is_unknown():
    assert total([]) == 0
    assert total([0.5, 0.25]) == 0.75
    assert total([0.5, None, 0.25]) is None


@given(dollars)
def test_what_is_spent_is_never_less_and_a_cap_never_more(amount):
    assert usd(nano_up(amount)) >= amount - 1e-9
    assert usd(nano_down(amount)) <= amount + 1e-9
    assert 0 <= nano_up(amount) - nano_down(amount) <= 1


def test_round_amounts_are_exact():
    assert nano_up(0.1) + nano_up(0.2) == nano_up(0.3) == nano_down(0.3) == 300_000_000


def test_nothing_capped_refuses_nothing_even_of_unknown_price():
    assert refusal([Balance("run", None, spent=10**12)], None) is None


def test_an_unknown_price_is_refused_under_a_cap_with_the_remedy():
    refused = refusal([Balance("run r", nano_down(5.0))], None)
    assert refused is not None and not refused.temporary
    assert "run r" in refused.reason and "drop the budget" in refused.reason


def test_a_refusal_says_what_is_where():
    balance = Balance("feature f", nano_down(1), nano_up(0.5), nano_up(0.2), nano_up(0.1))
    refused = refusal([balance], nano_up(0.25))
    assert refused is not None and refused.temporary
    for figure in ("$1.00", "$0.5000", "$0.2000", "$0.1000", "$0.2500", "feature f"):
        assert figure in refused.reason
    hard = refusal([balance], nano_up(0.31))
    assert hard is not None and not hard.temporary
    assert refusal([balance], nano_up(0.2)) is None


def test_a_hard_refusal_is_named_before_a_temporary_one():
    waits = Balance("attempt a", 100, held=100)
    full = Balance("run r", 100, spent=100)
    found = refusal([waits, full], 1)
    assert found is not None and (found.scope, found.temporary) == ("run r", False)


amounts = st.integers(0, 10**6)


@given(amounts, amounts, amounts, amounts, amounts)
def test_what_is_accepted_fits_and_what_is_refused_does_not(cap, spent, unknown, held, amount):
    found = refusal([Balance("s", cap, spent, unknown, held)], amount)
    assert (found is None) == (spent + unknown + held + amount <= cap)
    if found is not None:
        assert found.temporary == (spent + unknown + amount <= cap)


@pytest.mark.parametrize("order", [1, -1])
def test_every_scope_must_agree(order):
    balances = [Balance("small", 5), Balance("large", 500)][::order]
    found = refusal(balances, 10)
    assert found is not None and found.scope == "small"


def test_a_small_budget_is_not_shown_as_none():
    found = refusal([Balance("run", nano_down(0.001))], nano_up(1))
    assert found is not None
    assert "of $0.0010 are" in found.reason
