"""Translates what the model SDKs and their HTTP client raise into our own model errors.

The SDKs of Anthropic and OpenAI are made by one generator: their classes have the same names.
"""

import re
import time
from collections.abc import Mapping
from typing import Any

from harness.models.rate_headers import refused_for, window_closed
from orchestrator.errors import (
    ModelContextTooLongError,
    ModelError,
    ModelMalformedError,
    ModelOverloadedError,
    ModelQuotaExhaustedError,
    ModelRateLimitedError,
    ModelRejectedError,
    ModelTimeoutError,
    ModelUnauthorizedError,
    ModelUnreachableError,
)

#: By class name, nearest class first, so that a subclass of a later SDK is covered as well.
BY_CLASS: Mapping[str, type[ModelError]] = {
    # the SDK
    "AnthropicError": ModelRejectedError,  # misuse of the SDK: our fault
    "APIError": ModelTimeoutError,  # no status, so no answer
    "APIConnectionError": ModelTimeoutError,
    "APIResponseValidationError": ModelMalformedError,
    "APIStatusError": ModelOverloadedError,  # a status or event without a class of its own
    "BadRequestError": ModelRejectedError,
    "AuthenticationError": ModelUnauthorizedError,
    "PaymentRequiredError": ModelQuotaExhaustedError,
    "PermissionDeniedError": ModelUnauthorizedError,
    "NotFoundError": ModelRejectedError,
    "RequestTimeoutError": ModelTimeoutError,
    "ConflictError": ModelOverloadedError,
    "PreconditionFailedError": ModelRejectedError,
    "ContentTooLargeError": ModelRejectedError,
    "UnprocessableEntityError": ModelRejectedError,
    "RateLimitError": ModelRateLimitedError,
    "ContractSpendLimitReachedError": ModelQuotaExhaustedError,
    "EnforcedSpendLimitReachedError": ModelQuotaExhaustedError,
    "RequestHeaderFieldsTooLargeError": ModelRejectedError,
    "ClientClosedRequestError": ModelTimeoutError,
    "InternalServerError": ModelOverloadedError,
    "HTTPNotImplementedError": ModelRejectedError,
    "GatewayTimeoutError": ModelTimeoutError,
    "RetryableError": ModelOverloadedError,
    "CredentialsError": ModelUnauthorizedError,
    "WorkloadIdentityError": ModelUnauthorizedError,
    "MutuallyExclusiveAuthError": ModelUnauthorizedError,
    "OpenAIError": ModelRejectedError,
    # its HTTP client
    "ConnectError": ModelUnreachableError,
    "ConnectTimeout": ModelUnreachableError,
    "ProxyError": ModelUnreachableError,
    "HTTPError": ModelTimeoutError,
    "StreamError": ModelTimeoutError,
    "DecodingError": ModelMalformedError,
    "TooManyRedirects": ModelRejectedError,
    "UnsupportedProtocol": ModelRejectedError,
    "InvalidURL": ModelRejectedError,
    "CookieConflict": ModelRejectedError,
    # the standard library, through either
    "OSError": ModelTimeoutError,
    "ValueError": ModelMalformedError,  # JSON or text that cannot be decoded
}

#: By the `type` of the error in the body: all there is when it came within a stream.
_BY_TYPE: Mapping[str, type[ModelError]] = {
    "overloaded_error": ModelOverloadedError,
    "api_error": ModelOverloadedError,
    "rate_limit_error": ModelRateLimitedError,
    "timeout_error": ModelTimeoutError,
    "authentication_error": ModelUnauthorizedError,
    "permission_error": ModelUnauthorizedError,
    "billing_error": ModelQuotaExhaustedError,
    "invalid_request_error": ModelRejectedError,
    "not_found_error": ModelRejectedError,
    "request_too_large": ModelRejectedError,
    "server_error": ModelOverloadedError,
    "insufficient_quota": ModelQuotaExhaustedError,
    "rate_limit_exceeded": ModelRateLimitedError,
}

#: By HTTP status, where not every SDK has a class for it.
_BY_STATUS: Mapping[int, type[ModelError]] = {
    402: ModelQuotaExhaustedError,
    408: ModelTimeoutError,
    413: ModelRejectedError,
    429: ModelRateLimitedError,
    504: ModelTimeoutError,
}

# Two facts that the API tells in words only, under the type of any invalid request.
_TOO_LONG = re.compile(
    r"prompt is too long|exceed(s|ed)? (the )?(model's )?context"
    r"|maximum context length|context_length_exceeded|context (window|size)",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"credit balance|insufficient[ _](credit|quota|funds)|(spend|usage) limit|billing"
    r"|exceeded your current quota",
    re.IGNORECASE,
)

Remedies = Mapping[type[ModelError], str]


def remedies(key: str, address: str) -> Remedies:
    """What to do about each error: `key` and `address` name what the user has set."""
    return {
        ModelUnauthorizedError: f"check {key} (and {address})",
        ModelQuotaExhaustedError: "add credit or wait for the limit's end, then resume the run",
        ModelUnreachableError: f"check the network, any proxy and {address}",
    }


def translate(
    error: Exception, known: Remedies, *, now: float | None = None, reply_begun: bool = False
) -> ModelError:
    """Our error for a foreign one, with its message, a remedy and the wait it asks for.

    An error already ours is returned as it is. `now` is for tests: seconds since the epoch.
    """
    if isinstance(error, ModelError):
        return error
    # The SDK hides that no connection came about, so that nothing was sent, behind one class.
    hidden = error.__cause__
    if isinstance(hidden, ModelError):  # of `models.guarded_http`
        return hidden
    if isinstance(hidden, Exception) and _known(hidden) is ModelUnreachableError:
        return _unreachable(error, hidden, known)
    message = _message(error)
    cls = _class(error, message)
    headers = getattr(getattr(error, "response", None), "headers", {})
    if cls is ModelRateLimitedError and window_closed(headers):
        cls = ModelQuotaExhaustedError
    remedy = known.get(cls)
    wait = refused_for(headers, time.time() if now is None else now)
    words = f"{message}; {remedy}" if remedy else message
    return cls(words, retry_after=wait, reply_begun=reply_begun)


def _known(error: Exception) -> type[ModelError] | None:
    return next((BY_CLASS[c.__name__] for c in type(error).__mro__ if c.__name__ in BY_CLASS), None)


def _unreachable(error: Exception, why: Exception, known: Remedies) -> ModelUnreachableError:
    """Names the host, which may be a wrong one, but no more of its address: that can hold a key."""
    host = getattr(getattr(getattr(error, "request", None), "url", None), "host", "")
    words = str(why) or type(why).__name__
    remedy = known[ModelUnreachableError]
    return ModelUnreachableError(f"{host or 'the model'}: {words}; {remedy}")


def _class(error: Exception, message: str) -> type[ModelError]:
    found = _known(error)
    status = getattr(error, "status_code", 200)
    if found is None or status == 200:  # said within a stream, or without an answer
        said = _body(error)
        kinds = [_BY_TYPE.get(str(said.get(name))) for name in ("type", "code")]
        found = next((kind for kind in kinds if kind), found or ModelError)
    elif status in _BY_STATUS and not issubclass(found, ModelQuotaExhaustedError):
        found = _BY_STATUS[status]
    elif type(error).__name__ == "APIStatusError" and status < 500:
        found = ModelRejectedError
    if found in (ModelRejectedError, ModelRateLimitedError, ModelUnauthorizedError):
        if _TOO_LONG.search(message):
            return ModelContextTooLongError
        if _QUOTA.search(message):
            return ModelQuotaExhaustedError
    return found


def _message(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    body = _body(error)
    words = body.get("message") or str(error) or type(error).__name__
    head = [str(status) if status else type(error).__name__, str(body.get("type") or "")]
    if body.get("code") and str(body["code"]) not in head:
        head.append(str(body["code"]))
    return f"{' '.join(h for h in head if h)}: {words}"


def _body(error: Exception) -> Mapping[str, Any]:
    """The `error` object of the answer's body, empty when there is none."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}
