"""Hears one streamed reply of a model SDK to its end, whichever errors it comes with."""

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from harness.models.rate_headers import until_next
from harness.models.sdk_errors import Remedies, translate
from harness.ports import ModelReply, ModelRequest
from orchestrator.errors import ModelMalformedError


class Growing(Protocol):
    """A reply as far as it was heard. `begun`: the provider has begun it, and may charge for it."""

    begun: bool

    def add(self, event: Mapping[str, Any], /) -> None: ...

    def reply(self) -> ModelReply:
        """The whole of it. Raises `ModelError` for one that may not be used."""
        ...


async def hear(
    stream: Awaitable[Any],
    answer: Growing,
    request: ModelRequest,
    remedies: Remedies,
    sdk_error: type[Exception],
) -> ModelReply:
    """`answer` put together from what the SDK's call `stream` sends; `sdk_error` is what all
    errors of that SDK derive from. Raises `ModelError` and its kinds, for a stream that breaks
    off as well."""
    import httpx2  # noqa: PLC0415 - the SDKs' HTTP client, whose errors pass through them

    foreign = (sdk_error, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL)
    try:
        opened = await stream
        async with opened:
            async for event in opened:
                answer.add(event.to_dict())
                if answer.begun and request.begun is not None:
                    request.begun()
        said = answer.reply()
    except (*foreign, httpx2.CookieConflict, OSError, ValueError) as error:
        raise translate(error, remedies, reply_begun=answer.begun) from error
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ModelMalformedError(f"an event that breaks the protocol: {error!r}") from error
    headers = getattr(opened.response, "headers", {})
    return replace(said, pause=until_next(headers, said.usage))
