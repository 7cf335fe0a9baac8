"""Reads what a program in a sandbox asks over the Messages API, and refuses what is not its to ask.

A question may cost what was reserved for it and reach the model, no more: tools that the provider
itself would run (searching, fetching, running code) are billed apart and reach the network, and
files or addresses named as a source are read with the harness's key.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Kinds of tools of the API that whoever asks runs by itself; all others have a schema.
_RUN_BY_CLIENT = ("bash_", "text_editor_", "computer_", "memory_")
#: Where the bytes of an image or a document may be: in the question.
_SOURCES = ("base64", "text", "content")
#: What the model may be asked for in one reply.
MOST_TOKENS = 32_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks, in the shapes of the Messages API; `main`: it offers tools, so that it
    is a turn of the agent's and not a question on the side."""

    system: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int

    @property
    def main(self) -> bool:
        return bool(self.tools)


def read(body: bytes) -> tuple[Asked, bool]:
    """The question, and whether its answer is wanted as a stream. Options that would change whose
    model it is, or how it is charged, are left out. Raises `ValueError` in words."""
    try:
        given = json.loads(body)
        return _asked(given), bool(given.get("stream"))
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(repr(error)) from error


def _asked(given: Mapping[str, Any]) -> Asked:
    return Asked(
        system=_blocks(given.get("system") or []),
        tools=tuple(_tool(tool) for tool in given.get("tools") or ()),
        messages=tuple(
            {"role": str(m["role"]), "content": list(_blocks(m["content"]))}
            for m in given["messages"]
        ),
        max_tokens=min(max(1, int(given.get("max_tokens", 4096))), MOST_TOKENS),
    )


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = tool.get("type") or "custom"
    if kind != "custom" and not str(kind).startswith(_RUN_BY_CLIENT):
        raise ValueError(f"tool {kind!r} is run by the provider, and there is none here")
    return _plain(tool)


def _blocks(content: Any) -> tuple[Mapping[str, Any], ...]:
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    return tuple(_block(block) for block in content)


def _block(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """As it is, with what stands in it checked as well."""
    if block["type"] == "container_upload":
        raise ValueError("files at the provider are not for agents")
    return {**_plain(block), **dict(_inner(block))}


def _inner(block: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(block.get("content"), list):
        yield "content", list(_blocks(block["content"]))
    if "source" in block and block["type"] != "search_result":  # whose source is but a name
        source = block["source"]
        if source["type"] not in _SOURCES:
            raise ValueError(f"a source of type {source['type']!r}: say what is in it instead")
        nested = isinstance(source.get("content"), list)
        more = {"content": list(_blocks(source["content"]))} if nested else {}
        yield "source", {**source, **more}


def _plain(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the plain cache mark: longer lifetimes are priced otherwise."""
    return {**block, "cache_control": {"type": "ephemeral"}} if "cache_control" in block else block
