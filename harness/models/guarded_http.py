"""Bounds what a models' server can do over HTTP: no redirects, no compression, no endless reply.

Imported with a provider's SDK, late: the HTTP client alone takes longer than starting may.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx2

from orchestrator.errors import ModelMalformedError, ModelUnauthorizedError

#: Bytes of one answer: a reply of 32,000 tokens has a tenth of it as a stream of events.
MOST_BYTES = 32_000_000


def settings(address: str, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Arguments of `httpx2.AsyncClient`. `address` names what the user has set.

    A redirect would carry a conversation to a host that nobody named: `ModelUnauthorizedError`.
    What grows without end, or while it is unpacked: `ModelMalformedError`.
    """

    async def check(response: httpx2.Response) -> None:
        if response.has_redirect_location:
            host = httpx2.URL(response.headers["location"]).host or "another path"
            raise ModelUnauthorizedError(
                f"{response.status_code}: the server sends us on to {host}, and nothing is said "
                f"where nobody named it; check {address}"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ModelMalformedError("the answer is compressed, which was not asked for")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream, most_bytes)

    return {
        "follow_redirects": False,
        "headers": {"accept-encoding": "identity"},
        "event_hooks": {"response": [check]},
    }


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most: int) -> None:
        self._stream = stream
        self._left = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise ModelMalformedError("the answer is longer than any reply can be")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
