"""The failure table covers every error, and its waits are bounded and honour the provider."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.failures import TABLE, UNKNOWN, classify, next_wait

ERRORS = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.FibreFlowError)
]


#: They pass by themselves, mostly; what stays says nothing about the attempt that met it.
OUTAGES = (
    errors.ModelUnreachableError,
    errors.ModelOverloadedError,
    errors.ModelRateLimitedError,
)


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_has_a_row_of_its_own(cls):
    assert cls in TABLE


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_what_concerns_the_run_stops_it_and_only_outages_are_waited_out_before(cls):
    row = TABLE[cls]
    outage = cls in OUTAGES
    assert row.stops_run == (row.blame == "user" or outage)
    assert not row.pause or row.stops_run
    assert (row.stops_run and row.retry) == outage
    assert row.stops_run == (cls.exit_code in (2, 4, 5))
    if outage:
        assert cls.exit_code == 4


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_an_absent_network_is_waited_for_about_an_hour_and_an_outage_a_quarter(jitter):
    away = waits(errors.ModelUnreachableError, jitter=jitter)
    assert 55 * 60 <= sum(away) <= 60 * 60
    assert away[0] <= 1 and max(away) <= 120
    assert not TABLE[errors.ModelUnreachableError].reply_lost
    assert 13 * 60 <= sum(waits(errors.ModelOverloadedError, jitter=jitter)) <= 15 * 60


def test_a_subclass_has_its_parents_row_and_a_stranger_is_our_defect():
    class NearbyError(errors.ModelRateLimitedError):
        pass

    assert classify(NearbyError("x")) is TABLE[errors.ModelRateLimitedError]
    assert classify(KeyError("x")) is UNKNOWN
    assert UNKNOWN.blame == "harness" and not UNKNOWN.retry


def waits(cls, *, retry_after=None, jitter=0.0):
    """Every wait that the row grants to an error that never passes."""
    found: list[float] = []
    while True:
        wait = next_wait(
            TABLE[cls],
            tries=len(found) + 1,
            waited=sum(found),
            retry_after=retry_after,
            jitter=jitter,
        )
        if wait is None:
            return found
        found.append(wait)


def test_a_rate_limit_is_sat_out_over_many_windows_of_a_minute():
    for jitter in (0.0, 1.0):
        assert sum(waits(errors.ModelRateLimitedError, jitter=jitter)) > 20 * 60
    assert sum(waits(errors.ModelRateLimitedError, retry_after=60)) > 20 * 60


def test_what_the_provider_asks_for_is_waited_and_not_less():
    found = waits(errors.ModelRateLimitedError, retry_after=240, jitter=0.3)
    assert all(wait >= 240 for wait in found) and len(found) > 5


def test_a_demand_beyond_patience_gives_up_at_once():
    assert waits(errors.ModelRateLimitedError, retry_after=86_400) == []
    assert waits(errors.ModelQuotaExhaustedError, retry_after=86_400) == []
    assert waits(errors.ModelOverloadedError, retry_after=3_600) == []


def test_a_quota_is_waited_for_where_its_end_is_known_and_no_sooner():
    assert waits(errors.ModelQuotaExhaustedError, jitter=1.0) == []
    assert waits(errors.ModelQuotaExhaustedError, retry_after=5 * 3600) == [5 * 3600] * 2
    assert waits(errors.ModelRateLimitedError, retry_after=5 * 3600) == [5 * 3600] * 2


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
@given(jitter=st.floats(0, 1), retry_after=st.none() | st.floats(-1e3, 1e6, allow_infinity=False))
def test_tries_and_waits_are_bounded_for_every_error(cls, jitter, retry_after):
    row = TABLE[cls]
    found = waits(cls, retry_after=retry_after, jitter=jitter)
    assert len(found) < row.tries or (row.tries == 1 and found == [])
    assert sum(found) <= (row.patience if retry_after is None else max(row.patience, row.pause))
    assert all(wait >= 0 for wait in found)


def test_jitter_spreads_what_came_together():
    row = TABLE[errors.ModelOverloadedError]
    spread = {next_wait(row, tries=3, waited=0, retry_after=None, jitter=j / 10) for j in range(11)}
    assert len(spread) == 11 and min(spread) == pytest.approx(max(spread) / 2)
