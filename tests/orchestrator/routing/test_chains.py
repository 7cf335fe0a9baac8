"""A model that keeps failing is passed over for a while, and asked again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors as e
from orchestrator.failures import TABLE
from orchestrator.routing.chains import LONG, MOST_REST, REST, Health, failed, standing

OVERLOADED = TABLE[e.ModelOverloadedError]
QUOTA = TABLE[e.ModelQuotaExhaustedError]


def test_one_failure_passes_nothing_over_but_half_a_minute_of_them_does():
    health = failed(Health(), OVERLOADED, None, 100.0)
    assert health.until == 0.0
    health = failed(health, OVERLOADED, None, 129.0)
    assert health.until == 0.0
    health = failed(health, OVERLOADED, None, 130.0)
    assert (health.until, health.rests) == (130.0 + REST, 1)
    again = failed(health, OVERLOADED, None, 191.0)  # asked again after its rest, in vain
    assert (again.until, again.rests) == (191.0 + 2 * REST, 2)


def test_an_empty_purse_and_a_long_wait_pass_it_over_at_once():
    assert failed(Health(), QUOTA, None, 5.0).until == 5.0 + REST
    assert failed(Health(), QUOTA, 7200.0, 5.0).until == 7205.0
    limited = TABLE[e.ModelRateLimitedError]
    assert failed(Health(), limited, LONG, 5.0).until == 5.0 + LONG
    assert failed(Health(), limited, LONG - 1, 5.0).until == 0.0


@pytest.mark.parametrize(
    "error",
    [
        e.ModelRefusedError,
        e.ModelContextTooLongError,
        e.ModelUnauthorizedError,
        e.ModelRejectedError,
    ],
)
def test_what_no_other_model_would_mend_passes_nothing_over(error):
    assert failed(Health(), TABLE[error], 9999.0, 5.0) == Health()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5), st.floats(0, 1e6))
def test_the_first_that_is_awake_is_asked_else_the_next_to_wake(untils, now):
    chosen = standing([Health(until=until) for until in untils], now)
    if any(until <= now for until in untils):
        assert untils[chosen] <= now and all(until > now for until in untils[:chosen])
    else:
        assert untils[chosen] == min(untils)


@given(st.integers(0, 60))
def test_a_rest_has_an_end(rests):
    health = failed(Health(0.0, 0.0, rests), OVERLOADED, None, 1000.0)
    assert REST <= health.until - 1000.0 <= MOST_REST
