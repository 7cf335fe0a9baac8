"""Serves OpenAI's Chat Completions on a local socket, streamed, with the faults of `messages_api`.

`respond(request)` gets the request's JSON and gives blocks of the Messages API, which are said in
this dialect: text in two deltas, each call in three, the usage in a chunk of its own at the end.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.emulators.messages_api import Fault, MessagesServer

_CODES = {"rate_limit_error": "rate_limit_exceeded", "overloaded_error": "server_error"}


class ChatServer(MessagesServer):
    """Its base URL for the SDK is `base_url`."""

    path = "/v1/chat/completions"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def _standing(self, wait: float | None = None) -> dict[str, str]:
        if self._bucket is None:
            return {}
        after = {} if wait is None else {"retry-after-ms": f"{wait * 1000:.0f}"}
        return {**after, **self._bucket.durations()}

    def _error(self, fault: Fault) -> dict[str, Any]:
        code = _CODES.get(fault.type)
        return {"error": {"message": fault.message, "type": fault.type, "code": code}}

    def _events(
        self,
        request: Mapping[str, Any],
        answer: Mapping[str, Any],
        usage: Mapping[str, int],
        fault: Fault | None,
    ) -> list[bytes]:
        kind = fault.kind if fault is not None else ""
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        base["model"] = answer.get("model", request["model"])

        def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return _event({**base, "choices": [choice], **more})

        events = [chunk({"role": "assistant", "content": ""})]
        if kind == "error_event":
            assert fault is not None
            events.append(_event(self._error(fault)))
        if kind == "garbage":
            events.append(b"data: {not json\n\n")
        deltas = list(_deltas(answer["content"], malformed=kind == "malformed"))
        events += [chunk(delta) for delta in deltas]
        if kind in ("cut", "stall"):
            return events[: 1 + (len(events) - 1 + 1) // 2]
        calls = any("tool_calls" in delta for delta in deltas)
        events.append(chunk({}, answer.get("stop_reason") or ("tool_calls" if calls else "stop")))
        if request.get("stream_options", {}).get("include_usage"):
            events.append(_event({**base, "choices": [], "usage": _counted(usage)}))
        return [*events, b"data: [DONE]\n\n"]


def _deltas(content: Any, *, malformed: bool) -> Iterator[dict[str, Any]]:
    number = 0
    for block in content:
        if block["type"] == "text":
            half = len(block["text"]) // 2
            yield {"content": block["text"][:half]}
            yield {"content": block["text"][half:]}
            continue
        given = json.dumps(block["input"])
        given = given[:-1] if malformed else given
        half = len(given) // 2
        begin = {"name": block["name"], "arguments": ""}
        call_id = block.get("id", f"call_{number}")
        yield _call(number, begin, id=call_id, type="function")
        yield _call(number, {"arguments": given[:half]})
        yield _call(number, {"arguments": given[half:]})
        number += 1


def _call(number: int, function: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": number, "function": function, **more}]}


def _counted(usage: Mapping[str, int]) -> dict[str, Any]:
    """As OpenAI counts: the input includes what was read from the cache."""
    read = usage["cache_read_input_tokens"]
    asked = usage["input_tokens"] + read
    return {
        "prompt_tokens": asked,
        "completion_tokens": usage["output_tokens"],
        "total_tokens": asked + usage["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": read},
    }


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
