"""Says a model's whole reply as the Messages API does: in one piece, or as a stream's events."""

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from harness.ports import ModelReply


def whole(reply: ModelReply) -> dict[str, Any]:
    """The body of an answer."""
    used = reply.usage
    return {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [dict(block) for block in reply.content],
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": used.input if used else 0,
            "output_tokens": used.output if used else 0,
            "cache_read_input_tokens": used.cache_read if used else 0,
            "cache_creation_input_tokens": used.cache_write if used else 0,
        },
    }


def events(reply: ModelReply) -> Iterator[bytes]:
    """A finished reply as the events of the API's stream."""
    message = whole(reply)
    began = {**message, "content": [], "stop_reason": None}
    yield _event("message_start", message=began)
    for index, block in enumerate(message["content"]):
        start, deltas = _parts(block)
        yield _event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage=message["usage"])
    yield _event("message_stop")


def ping() -> bytes:
    """What keeps a client waiting."""
    return _event("ping")


def failed(words: str) -> bytes:
    """The end of a stream that comes to nothing."""
    return _event("error", error={"type": "billing_error", "message": words})


def _parts(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and what is added to it."""
    kind = block["type"]
    if kind == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
    if kind == "tool_use":
        given = json.dumps(block["input"])
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": block.get("thinking", "")}]
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    return dict(block), []


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
