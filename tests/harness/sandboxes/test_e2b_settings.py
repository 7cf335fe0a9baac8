"""What the environment may say to the `e2b` provider."""

import pytest

from harness.sandboxes.e2b.settings import read_settings
from orchestrator.errors import InputError, SandboxUnavailableError

KEY = {"E2B_API_KEY": "e2b_x"}


def test_without_a_key_it_says_which_variable() -> None:
    with pytest.raises(SandboxUnavailableError, match="E2B_API_KEY") as found:
        read_settings({})
    assert found.value.exit_code == 5


def test_the_plans_limits_and_what_overrides_them() -> None:
    hobby = read_settings(KEY)
    assert (hobby.concurrent, hobby.creates_per_second) == (20, 1.0)
    pro = read_settings({**KEY, "FIBREFLOW_E2B_PLAN": "pro", "FIBREFLOW_E2B_CONCURRENT": "300"})
    assert (pro.concurrent, pro.creates_per_second) == (300, 5.0)


def test_a_lifetime_never_passes_what_the_plan_allows() -> None:
    long = {**KEY, "FIBREFLOW_E2B_LIFETIME_SECONDS": "90000"}
    assert read_settings(long).lifetime_seconds == 3600
    assert read_settings({**long, "FIBREFLOW_E2B_PLAN": "pro"}).lifetime_seconds == 86400


@pytest.mark.parametrize("value", ["0", "-1", "many", "inf", "nan"])
def test_numbers_that_are_none(value: str) -> None:
    with pytest.raises(InputError, match="FIBREFLOW_E2B_CPUS"):
        read_settings({**KEY, "FIBREFLOW_E2B_CPUS": value})


def test_an_unknown_plan() -> None:
    with pytest.raises(InputError, match="hobby, pro"):
        read_settings({**KEY, "FIBREFLOW_E2B_PLAN": "gold"})


def test_addresses_are_the_sdks() -> None:
    given = {**KEY, "E2B_DOMAIN": "e2b.example.org", "E2B_API_URL": "http://127.0.0.1:1"}
    assert read_settings(given).account == {
        "api_key": "e2b_x",
        "domain": "e2b.example.org",
        "api_url": "http://127.0.0.1:1",
    }


def test_the_price_is_dated_and_as_published() -> None:
    """The example of https://e2b.dev/docs/faq/calculate-sandbox-price: 2 vCPU and 512 MiB for an
    hour cost about $0.109."""
    given = {**KEY, "FIBREFLOW_E2B_CPUS": "2", "FIBREFLOW_E2B_MEMORY_MB": "512"}
    settings = read_settings(given)
    assert settings.cost_usd(3600) == pytest.approx(0.109, abs=0.0005)
    assert settings.prices.as_of.startswith("20")
    assert settings.prices.source.startswith("https://")
