"""models.yaml is read whole or refused; a model that keeps failing is passed over for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors as e
from orchestrator.failures import TABLE
from orchestrator.model_chains import LONG, MOST_REST, REST, Health, failed, parse, standing

OVERLOADED = TABLE[e.ModelOverloadedError]
QUOTA = TABLE[e.ModelQuotaExhaustedError]
FILE = {
    "providers": {
        "groq": {"api": "openai", "base_url": "https://api.groq.com/openai/v1", "key": "GROQ_KEY"},
        "mine": {"api": "openai", "base_url": "http://127.0.0.1:8000/v1", "free": True},
    },
    "tiers": {"haiku": ["claude-haiku-5-5", "groq/llama-3.3"], "opus": "mine/qwen/qwen3"},
}


def test_a_file_is_read():
    chains = parse(FILE, "models.yaml")
    assert chains.tiers == {
        "haiku": ["claude-haiku-5-5", "groq/llama-3.3"],
        "opus": ["mine/qwen/qwen3"],
    }
    assert chains.providers["mine"].free and chains.providers["groq"].key == "GROQ_KEY"
    assert parse(None, "x").tiers == {}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tiers": {"huge": ["m"]}}, "tiers.huge"),
        ({"tiers": {"haiku": []}}, "tiers.haiku"),
        ({"tiers": {"haiku": ["other/m"]}}, "other/m"),
        ({"tiers": {"haiku": ["groq/"]}}, "groq/"),
        ({"tiers": {"haiku": ["m", "m"]}}, "twice"),
        ({"providers": {"a/b": FILE["providers"]["groq"]}, "tiers": {}}, "a/b"),
        ({"providers": {"x": {"api": "soap", "base_url": "https://h"}}, "tiers": {}}, "x.api"),
        ({"providers": {"x": {"api": "openai", "base_url": "h"}}, "tiers": {}}, "address"),
        ({"providers": {"x": {"api": "openai"}}, "tiers": {}}, "x.base_url"),
        ({"chains": {}}, "chains"),
    ],
)
def test_what_is_wrong_is_named(change, named):
    with pytest.raises(e.InputError, match="see docs/models") as caught:
        parse({**FILE, **change}, "models.yaml")
    assert named in str(caught.value)


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
