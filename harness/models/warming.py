"""Lets the first attempt of a feature write the provider's cache before the others read from it.

All attempts of a round begin with the same bytes: system, tools, repository, feature. The
provider can read that prefix from its cache only after the first reply to it has begun; whoever
asks before that pays for writing it once more. So the first questions wait for one of them.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.ports import Clock, ModelRequest

#: The provider's cache forgets a prefix that was not read for so many seconds.
LIFETIME = 300.0
#: Seconds to wait for the first reply to begin; a slow one is not worth more.
BOUND = 60.0
#: Characters below which no provider caches: 1,024 tokens, at most four characters each.
LEAST = 4_096


@dataclass
class _Prefix:
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    until: float = 0.0


class Warming:
    """Who has begun, by prefix. One event loop."""

    def __init__(self, clock: Clock, *, bound: float = BOUND, lifetime: float = LIFETIME) -> None:
        self._clock = clock
        self._bound = bound
        self._lifetime = lifetime
        self._prefixes: dict[str, _Prefix] = {}

    async def wait(self, request: ModelRequest) -> "Share":
        """Returns when the prefix can be read, or when this request is the one to write it."""
        key = prefix_key(request)
        if key is None:
            return Share(None, self._clock, self._lifetime)
        while True:
            known = self._prefixes.get(key)
            if known is None or (known.ready.is_set() and self._clock.monotonic() > known.until):
                return self._writer(key)
            if known.ready.is_set():
                return Share(known, self._clock, self._lifetime)
            if not await _within(known.ready.wait, self._bound):
                return Share(known, self._clock, self._lifetime)

    def _writer(self, key: str) -> "Share":
        made = self._prefixes[key] = _Prefix()
        return Share(made, self._clock, self._lifetime, lambda: self._forget(key, made))

    def _forget(self, key: str, prefix: _Prefix) -> None:
        """Unless somebody who would not wait for it has written it meanwhile."""
        if not prefix.ready.is_set():
            if self._prefixes.get(key) is prefix:
                del self._prefixes[key]
            prefix.ready.set()


class Share:
    """One request's part in a prefix: say when its reply begins, and close it at the end."""

    def __init__(
        self,
        prefix: _Prefix | None,
        clock: Clock,
        lifetime: float,
        forget: Callable[[], None] | None = None,
    ) -> None:
        self._prefix = prefix
        self._clock = clock
        self._lifetime = lifetime
        self._forget = forget

    def begun(self) -> None:
        """The reply has begun: from now on the prefix can be read."""
        self._forget = None
        if self._prefix is not None:
            self._prefix.until = self._clock.monotonic() + self._lifetime
            self._prefix.ready.set()

    def close(self) -> None:
        """The call is over; if its reply never began, the next request writes the prefix."""
        if self._forget is not None:
            self._forget()
            self._forget = None


async def _within(wait: Callable[[], Awaitable[Any]], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await wait()
    except TimeoutError:
        return False
    return True


def prefix_key(request: ModelRequest) -> str | None:
    """What the requests that can share a cache entry have in common; None where a first question
    has nothing marked, or too little to be cached."""
    if request.turn != 1 or not request.messages:
        return None
    shared = list(_shared(request.messages[0]))
    text = json.dumps([request.model, list(request.tools), list(request.system), shared])
    if not shared or len(text) < LEAST:
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _shared(message: Mapping[str, Any]) -> Iterator[Any]:
    """The blocks up to the first mark; what follows is the attempt's own."""
    blocks = message["content"]
    marked = [n for n, b in enumerate(blocks) if isinstance(b, Mapping) and "cache_control" in b]
    yield from blocks[: marked[0] + 1] if marked else ()
