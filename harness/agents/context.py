"""Keeps a conversation within bounds and marks where the provider's cache may end."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.values import Usage

Message = dict[str, Any]

#: Characters of a conversation: about 80,000 tokens. Attention thins out in long contexts, and
#: the cheapest tier costs five times as much per token above 100,000.
ROOM = 320_000
#: Shortening goes well below the bound at once, for each time it costs the cached prefix.
_TARGET = 0.6
#: The newest messages stay whole: they are what the model is working on.
_KEEP = 6

REMOVED = "[output removed to save room; run the call again if you need it]"


def size(messages: Sequence[Mapping[str, Any]]) -> int:
    """Characters of the messages as JSON."""
    return sum(len(json.dumps(message)) for message in messages)


def input_bound(messages: Sequence[Message], last: Usage | None) -> int | None:
    """Tokens that the messages have at most, from what the provider counted for the question
    before: that count, and a token for every byte since (the reply and the answer to it).
    Shortening only makes them fewer. None without a count.
    """
    if last is None:
        return None
    added = json.dumps(messages[-2:], ensure_ascii=False).encode("utf-8", "surrogatepass")
    return last.input + last.cache_read + last.cache_write + len(added)


def shorten(messages: Sequence[Message], count: int) -> list[Message]:
    """The messages, with the tool output in the oldest `count` of them removed."""
    return [_without_output(m) for m in messages[:count]] + list(messages[count:])


def to_shorten(messages: Sequence[Message], already: int, room: int = ROOM) -> int:
    """How many of the oldest messages to shorten so that the rest fits into `room` characters.

    `already` when it fits as it is, so that the prefix stays the same from turn to turn.
    """
    if size(shorten(messages, already)) <= room:
        return already
    count = already
    while count < len(messages) - _KEEP:
        count += 1
        if size(shorten(messages, count)) <= room * _TARGET:
            break
    return count


def with_breakpoint(messages: Sequence[Message]) -> list[Message]:
    """The messages with a cache breakpoint at their end: the next turn reads up to here."""
    *before, last = messages
    content = [dict(block) for block in last["content"]]
    content[-1]["cache_control"] = {"type": "ephemeral"}
    return [*before, {**last, "content": content}]


def _without_output(message: Message) -> Message:
    content = [
        {**block, "content": [{"type": "text", "text": REMOVED}]}
        if block.get("type") == "tool_result"
        else block
        for block in message["content"]
    ]
    return {**message, "content": content}
