"""What a provider remembers of prompts: marked prefixes, for a while, once a reply has begun.

The rules as documented for the Messages API: a prefix is tools, then system, then messages, up
to a block with `cache_control`, equal to the byte; one below the least length is not kept; of a
marked block, up to twenty blocks back are looked for; a read keeps an entry alive for another
lifetime; an entry can be read only after the first reply to it has begun; at most four marks.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MARKS = 4
LOOK_BACK = 20


class PromptCache:
    """Entries by the digest of their prefix."""

    def __init__(
        self, clock: Callable[[], float], *, least: int = 1024, lifetime: float = 300.0
    ) -> None:
        self._clock = clock
        self._least = least
        self._lifetime = lifetime
        self._until: dict[tuple[str, str], float] = {}

    def look_up(self, request: Mapping[str, Any]) -> "LookedUp":
        """What of the request can be read now. Raises `ValueError` for too many marks."""
        blocks = list(_boundaries(request))
        marks = [n for n, block in enumerate(blocks) if block.marked]
        if len(marks) > MARKS:
            raise ValueError(f"{len(marks)} blocks are marked, and {MARKS} may be")
        model = str(request["model"])
        read = 0
        for mark in reversed(marks):
            for block in reversed(blocks[max(0, mark - LOOK_BACK) : mark + 1]):
                if self._until.get((model, block.digest), 0.0) >= self._clock():
                    read = max(read, block.tokens)
                    self._until[model, block.digest] = self._clock() + self._lifetime
                    break
        kept = [blocks[n] for n in marks if blocks[n].tokens >= self._least]
        end = max([read, *(block.tokens for block in kept)])
        total = blocks[-1].tokens if blocks else 0
        keys = [(model, block.digest) for block in kept]
        return LookedUp(self, keys, read, end - read, total - end)

    def remember(self, keys: list[tuple[str, str]]) -> None:
        for key in keys:
            self._until[key] = self._clock() + self._lifetime


@dataclass(frozen=True)
class LookedUp:
    """One request's use of the cache, in tokens."""

    cache: PromptCache
    keys: list[tuple[str, str]]
    read: int
    written: int
    rest: int

    def usage(self) -> dict[str, int]:
        return {
            "input_tokens": self.rest,
            "cache_read_input_tokens": self.read,
            "cache_creation_input_tokens": self.written,
        }

    def begun(self) -> None:
        """The reply has begun: what it wrote can be read."""
        self.cache.remember(self.keys)


@dataclass(frozen=True)
class _Block:
    digest: str
    tokens: int
    marked: bool


def _boundaries(request: Mapping[str, Any]) -> Iterator[_Block]:
    """Each block with the digest and the length of all up to it; the mark itself is no content."""
    digest, size = hashlib.sha256(), 0
    for part in [*request.get("tools", ()), *request.get("system", ()), *_said(request)]:
        content = json.dumps({k: v for k, v in part.items() if k != "cache_control"})
        digest.update(content.encode())
        size += len(content)
        yield _Block(digest.hexdigest(), size // 4, "cache_control" in part)


def _said(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for message in request["messages"]:
        for block in message["content"]:
            yield {"role": message["role"], **block}
