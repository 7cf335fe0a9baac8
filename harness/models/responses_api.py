"""Reads OpenAI's Responses API as questions of the Messages API, and says the replies in its words.

For command-line agents that speak nothing else, as Codex does. Only what such an agent needs:
words, images, calls of its functions and what came of them. Tools of other kinds are run by the
provider or grouped by conventions of its own, and are left out: what is not offered is not called.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.models.questions import MOST_TOKENS, Asked
from harness.ports import ModelReply

Shape = dict[str, Any]

#: Tokens of a reply where the question names no limit, as Codex's do.
_USUAL_TOKENS = 16_000
_MARK = {"cache_control": {"type": "ephemeral"}}


def read(body: bytes) -> tuple[Asked, bool]:
    """The question, and whether its answer is wanted as a stream. Raises `ValueError` in words."""
    try:
        given = json.loads(body)
        return _asked(given), bool(given.get("stream"))
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(repr(error)) from error


def whole(reply: ModelReply) -> Shape:
    """The body of an answer."""
    used, cut = reply.usage, reply.stop_reason == "max_tokens"
    asked = used.input + used.cache_read + used.cache_write if used else 0
    answered = used.output if used else 0
    return {
        "id": _id("resp"),
        "object": "response",
        "model": reply.model,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [item for block in reply.content if (item := _item(block)) is not None],
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": used.cache_read if used else 0},
            "output_tokens": answered,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + answered,
        },
    }


def events(reply: ModelReply) -> Iterator[bytes]:
    """A finished reply as the events of the API's stream."""
    made = whole(reply)
    begun = {**made, "status": "in_progress", "output": [], "usage": None}
    yield _event("response.created", response=begun)
    for index, item in enumerate(made["output"]):
        at = {"output_index": index}
        if item["type"] == "message":
            yield _event("response.output_item.added", item={**item, "content": []}, **at)
            where = {"item_id": item["id"], "content_index": 0, **at}
            words = item["content"][0]["text"]
            yield _event("response.output_text.delta", delta=words, **where)
        yield _event("response.output_item.done", item=item, **at)
    yield _event(f"response.{made['status']}", response=made)


def ping() -> bytes:
    """What keeps a client waiting: a comment alone would not."""
    return _event("response.in_progress", response={"status": "in_progress"})


def failed(words: str) -> bytes:
    """The end of a stream that comes to nothing, with a code that clients do not repeat."""
    error = {"code": "insufficient_quota", "message": words}
    return _event("response.failed", response={"status": "failed", "error": error})


# ------------------------------------------------------------------- the question


def _asked(given: Mapping[str, Any]) -> Asked:
    said = given["input"]
    items = [{"role": "user", "content": said}] if isinstance(said, str) else list(said)
    head = [_words(given["instructions"])] if given.get("instructions") else []
    messages: list[Shape] = []
    for item in items:
        if item.get("role") in ("system", "developer"):
            head += _parts(item["content"])
        elif (spoken := _spoken(item)) is not None:
            _add(messages, *spoken)
    return Asked(
        system=tuple(_marked(head)),
        tools=tuple(_tool(t) for t in given.get("tools") or () if t.get("type") == "function"),
        messages=tuple({**m, "content": _last_marked(m, messages)} for m in messages),
        max_tokens=min(max(1, int(given.get("max_output_tokens") or _USUAL_TOKENS)), MOST_TOKENS),
    )


def _spoken(item: Mapping[str, Any]) -> tuple[str, list[Shape]] | None:
    """Who says an item of a conversation, and its blocks; None for what is nobody else's."""
    kind = item.get("type", "message")
    if kind == "reasoning":  # which only its own provider can read again
        return None
    if kind == "message":
        return ("assistant" if item["role"] == "assistant" else "user"), _parts(item["content"])
    if kind == "function_call":
        called = {"type": "tool_use", "id": item["call_id"], "name": item["name"]}
        return "assistant", [{**called, "input": json.loads(item["arguments"] or "{}")}]
    if kind == "function_call_output":
        result = {"type": "tool_result", "tool_use_id": item["call_id"]}
        return "user", [{**result, "content": _parts(item["output"])}]
    raise ValueError(f"an item of type {kind!r}")


def _add(messages: list[Shape], role: str, blocks: Sequence[Shape]) -> None:
    """What one side says in several items is one message."""
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] += blocks
    elif blocks:
        messages.append({"role": role, "content": list(blocks)})


def _parts(content: Any) -> list[Shape]:
    if isinstance(content, str):
        return [_words(content)] if content else []
    return [_part(part) for part in content]


def _part(part: Mapping[str, Any]) -> Shape:
    if part["type"] in ("input_text", "output_text", "text"):
        return _words(part["text"])
    head, mark, data = str(part.get("image_url", "")).partition(";base64,")
    if part["type"] == "input_image" and mark and head.startswith("data:"):
        source = {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}
        return {"type": "image", "source": source}
    raise ValueError(f"a part of type {part['type']!r}: say what is in it instead")


def _words(text: Any) -> Shape:
    return {"type": "text", "text": str(text)}


def _tool(tool: Mapping[str, Any]) -> Shape:
    schema = tool.get("parameters") or {"type": "object"}
    return {
        "name": str(tool["name"]),
        "description": str(tool.get("description") or ""),
        "input_schema": schema,
    }


def _marked(blocks: Sequence[Shape]) -> list[Shape]:
    """With the cache mark that such a client has no word for."""
    return [*blocks[:-1], {**blocks[-1], **_MARK}] if blocks else []


def _last_marked(message: Shape, messages: Sequence[Shape]) -> list[Shape]:
    blocks: list[Shape] = message["content"]
    return _marked(blocks) if message is messages[-1] else blocks


# ---------------------------------------------------------------------- the reply


def _item(block: Mapping[str, Any]) -> Shape | None:
    """A block as an item of the output; None for thoughts, which have no shape there."""
    if block["type"] == "text":
        said = {"type": "output_text", "text": block["text"], "annotations": []}
        return {"type": "message", "id": _id("msg"), "role": "assistant",
                "status": "completed", "content": [said]}  # fmt: skip
    if block["type"] == "tool_use":
        return {"type": "function_call", "id": _id("fc"), "call_id": block["id"],
                "name": block["name"], "arguments": json.dumps(block["input"]),
                "status": "completed"}  # fmt: skip
    return None


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
