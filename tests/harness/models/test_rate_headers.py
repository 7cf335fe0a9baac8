"""What the headers of a provider are read as: seconds to wait, or nothing."""

from datetime import UTC, datetime
from email.utils import format_datetime

import anthropic
import httpx2
import pytest

from harness.models.rate_headers import refused_for, retry_after, until_next
from harness.models.sdk_errors import translate
from orchestrator import errors as e
from orchestrator.values import Usage

NOW = 1_000_000.0


def limit(kind: str, *, most: int, left: int, full_in: float) -> dict[str, str]:
    reset = datetime.fromtimestamp(NOW + full_in, UTC).isoformat().replace("+00:00", "Z")
    name = f"anthropic-ratelimit-{kind}"
    return {f"{name}-limit": str(most), f"{name}-remaining": str(left), f"{name}-reset": reset}


def test_what_is_left_needs_no_wait():
    assert until_next(limit("requests", most=50, left=1, full_in=59), Usage(), NOW) is None
    assert until_next({}, None, NOW) is None


def test_a_limit_refills_evenly_so_the_wait_is_for_one_more_call():
    assert until_next(limit("requests", most=50, left=0, full_in=60), None, NOW) == 1.2
    tokens = limit("input-tokens", most=40_000, left=0, full_in=60)
    assert until_next(tokens, Usage(input=3_000, cache_write=1_000, cache_read=90_000), NOW) == 6
    both = tokens | limit("requests", most=50, left=0, full_in=60)
    assert until_next(both, Usage(input=4_000), NOW) == 6
    assert until_next(tokens, Usage(input=900_000), NOW) == 60


def openais(kind: str, *, most: int, left: int, full_in: str) -> dict[str, str]:
    said = {"limit": most, "remaining": left, "reset": full_in}
    return {f"x-ratelimit-{name}-{kind}": str(value) for name, value in said.items()}


@pytest.mark.parametrize(
    ("full_in", "seconds"),
    [
        ("60s", 60), ("1m0s", 60), ("120ms", 0.12), ("2m59.56s", 179.56), ("1h2m3.5s", 3723.5),
        ("8.64s", 8.64), ("7", 7), ("", None), ("soon", None), ("-1s", None), ("nan", None),
    ],
)  # fmt: skip
def test_openais_limits_are_told_in_durations(full_in, seconds):
    assert until_next(openais("requests", most=1, left=0, full_in=full_in), None, NOW) == seconds


def test_openais_limits_refill_evenly_too_and_a_refusal_tells_thousandths():
    tokens = openais("tokens", most=40_000, left=0, full_in="1m0s")
    assert until_next(tokens, Usage(input=3_000, output=1_000), NOW) == 6
    assert until_next(openais("tokens", most=9, left=1, full_in="1m0s"), None, NOW) is None
    assert refused_for({"retry-after": "2", "retry-after-ms": "1530"}, NOW) == 1.53
    assert refused_for({"retry-after": "2", "retry-after-ms": "-1"}, NOW) == 2


@pytest.mark.parametrize("bad", ["", "soon", "2026-13-77T00:00:00Z"])
def test_what_cannot_be_read_says_nothing(bad):
    headers = limit("requests", most=50, left=0, full_in=60)
    for name in headers:
        assert until_next({**headers, name: bad}, None, NOW) is None


def test_a_refusal_is_for_as_long_as_it_says():
    headers = limit("requests", most=60, left=0, full_in=60)
    assert refused_for(headers, NOW) == 1
    assert refused_for({**headers, "anthropic-ratelimit-unified-reset": "1000700"}, NOW) == 700
    assert refused_for({**headers, "retry-after": "3"}, NOW) == 3
    assert refused_for({}, NOW) is None


def test_a_closed_window_is_a_quota_and_not_a_rate():
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(NOW + 7200),
    }
    answer = httpx2.Response(429, request=httpx2.Request("POST", "http://x"), headers=headers)
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "usage window"}}
    ours = translate(anthropic.RateLimitError("m", response=answer, body=body), {}, now=NOW)
    assert type(ours) is e.ModelQuotaExhaustedError and ours.retry_after == 7200


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("30", 30), ("0.5", 0.5), ("-3", 0), ("soon", None), ("inf", None),
        ("nan", None), (format_datetime(datetime.fromtimestamp(1_000_060, UTC), usegmt=True), 60),
        (format_datetime(datetime.fromtimestamp(999_000, UTC), usegmt=True), 0),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after(value, NOW) == seconds
