"""Every error of the SDK and of its client becomes one of ours, which keeps what was said."""

import inspect

import anthropic
import httpx2
import pytest

from harness.models.sdk_errors import BY_CLASS, remedies, translate
from orchestrator import errors as e

NAMED = remedies("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")


@pytest.mark.parametrize(
    ("hidden", "error"),
    [
        (httpx2.ConnectError("Name or service not known"), e.ModelUnreachableError),
        (httpx2.ConnectTimeout(""), e.ModelUnreachableError),
        (httpx2.ProxyError("403 Forbidden"), e.ModelUnreachableError),
        (httpx2.ReadError(""), e.ModelTimeoutError),
        (httpx2.WriteError(""), e.ModelTimeoutError),
        (httpx2.ReadTimeout(""), e.ModelTimeoutError),
        (httpx2.RemoteProtocolError("closed"), e.ModelTimeoutError),
        (None, e.ModelTimeoutError),
    ],
)
def test_only_what_was_surely_never_sent_is_unreachable(hidden, error):
    """A connection that broke later may have carried a question that is charged."""
    foreign = anthropic.APIConnectionError(request=httpx2.Request("POST", "http://x"))
    foreign.__cause__ = hidden
    assert type(translate(foreign, NAMED)) is error


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*(_subclasses(sub) for sub in cls.__subclasses__()))


#: Raised by parts of the SDK that are not used here; as misuse of it they map to a rejection.
UNUSED = {
    "APIWebhookValidationError",
    "MissingDependencyError",
    "StreamAlreadyConsumed",
    "ToolsetUsageError",
}
ROOTS = {anthropic.AnthropicError, anthropic.APIError, anthropic.APIStatusError}


def test_every_exception_of_the_sdk_is_mapped_by_name():
    """A class right under one of the SDK's roots says something of its own, so it needs a row."""
    found = _subclasses(anthropic.AnthropicError)
    assert len(found) > 30
    need = {c.__name__ for c in found if c in ROOTS or ROOTS & set(c.__bases__)}
    assert need - UNUSED <= BY_CLASS.keys()


def test_every_exception_of_its_client_is_mapped():
    found = {c for _, c in inspect.getmembers(httpx2, inspect.isclass) if issubclass(c, Exception)}
    assert len(found) > 20
    covered = {c for c in found if any(base.__name__ in BY_CLASS for base in c.__mro__)}
    assert found == covered


def test_spending_limits_are_no_rate_limits():
    for name in ("ContractSpendLimitReachedError", "EnforcedSpendLimitReachedError"):
        assert issubclass(getattr(anthropic, name), anthropic.RateLimitError)
        assert BY_CLASS[name] is e.ModelQuotaExhaustedError


def test_a_translated_error_keeps_what_was_said():
    answer = httpx2.Response(
        401, request=httpx2.Request("POST", "http://x"), headers={"retry-after": "2"}
    )
    body = {"type": "error", "error": {"type": "authentication_error", "message": "bad key"}}
    ours = translate(anthropic.AuthenticationError("m", response=answer, body=body), NAMED)
    assert type(ours) is e.ModelUnauthorizedError and ours.retry_after == 2
    assert str(ours).startswith("401 authentication_error: bad key; check ANTHROPIC_API_KEY")
    assert translate(ours, NAMED) is ours
