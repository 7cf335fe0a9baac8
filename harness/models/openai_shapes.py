"""Says a question of the Messages API in the words of Chat Completions."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.ports import ModelRequest
from orchestrator.errors import ModelRejectedError

Shape = dict[str, Any]

#: Blocks that only the provider that made them can read again.
_PRIVATE = ("thinking", "redacted_thinking")


def messages(request: ModelRequest) -> list[Shape]:
    """System prompt and conversation. Raises `ModelRejectedError` for a block that Chat
    Completions has no word for."""
    system = "\n\n".join(str(block["text"]) for block in request.system)
    said: list[Shape] = [{"role": "system", "content": system}] if system else []
    for message in request.messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        made = _assistant if message["role"] == "assistant" else _user
        said += made([block for block in blocks if block["type"] not in _PRIVATE])
    return said


def tools(request: ModelRequest) -> list[Shape]:
    """Raises `ModelRejectedError` for a tool that the provider itself would have to run."""
    for tool in request.tools:
        if "input_schema" not in tool:
            raise ModelRejectedError(
                f"tool {tool.get('name')!r} is run by Anthropic's servers and by no others; "
                "leave it out, or let this agent ask Anthropic alone"
            )
    return [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool.get("description", ""),
                "parameters": tool["input_schema"],
            },
        }
        for tool in request.tools
    ]


def _assistant(blocks: Sequence[Mapping[str, Any]]) -> list[Shape]:
    calls = [
        {
            "id": _call_id(block["id"]),
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in blocks
        if block["type"] == "tool_use"
    ]
    words = "\n\n".join(_text(block) for block in blocks if block["type"] != "tool_use")
    made: Shape = {"role": "assistant", "content": words or None}
    return [made | ({"tool_calls": calls} if calls else {})] if calls or words else []


def _user(blocks: Sequence[Mapping[str, Any]]) -> list[Shape]:
    """The answers to calls first, for they must follow the calls at once."""
    answers = [
        {
            "role": "tool",
            "tool_call_id": _call_id(block["tool_use_id"]),
            "content": ("error: " if block.get("is_error") else "") + _joined(block.get("content")),
        }
        for block in blocks
        if block["type"] == "tool_result"
    ]
    rest = [_part(block) for block in blocks if block["type"] != "tool_result"]
    if all(part["type"] == "text" for part in rest):
        words = "\n\n".join(part["text"] for part in rest)
        return [*answers, *([{"role": "user", "content": words}] if words else [])]
    return [*answers, {"role": "user", "content": rest}]


def _part(block: Mapping[str, Any]) -> Shape:
    source = block.get("source", {})
    if block["type"] == "image" and source.get("type") == "base64":
        address = f"data:{source['media_type']};base64,{source['data']}"
        return {"type": "image_url", "image_url": {"url": address}}
    return {"type": "text", "text": _text(block)}


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(_texts(content or ()))


def _texts(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        yield "[an image, which cannot be shown here]" if block["type"] == "image" else _text(block)


def _text(block: Mapping[str, Any]) -> str:
    if block["type"] != "text":
        raise ModelRejectedError(
            f"a block of type {block['type']!r} cannot be said to an OpenAI-compatible provider"
        )
    return str(block["text"])


def _call_id(ours: str) -> str:
    """As every provider takes it: nine letters and digits, which is all that some allow."""
    return hashlib.sha256(ours.encode("utf-8", "surrogatepass")).hexdigest()[:9]
