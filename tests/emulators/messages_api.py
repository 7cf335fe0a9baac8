"""Serves the Messages API on a local socket, streamed, with faults where a test wants them.

With a `TokenBucket` it limits requests, with a `PromptCache` it caches, both by the real rules.

    async with MessagesServer(respond, faults={2: rate_limited(1)}) as server:
        env = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "any"}

`respond(request)` gets the request's JSON and gives content blocks (ids of `tool_use` may be
left out), or a mapping with `content` and, if wanted, `stop_reason` and `usage`. It decides by
the request alone, so that a repeated question gets the same answer. `faults` maps the number
of a call, from 1, to what goes wrong with it; or is a function of (number, request).
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from tests.emulators.prompt_cache import PromptCache
from tests.emulators.rate_limits import TokenBucket

Respond = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Fault:
    """`status`: an error answer. The others go wrong within a stream that began well."""

    kind: Literal["status", "cut", "stall", "malformed", "error_event", "garbage", "drop"]
    status: int = 200
    type: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def rate_limited(retry_after: float | str | None = None) -> Fault:
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    words = "This request would exceed your organization's rate limit of 50 requests per minute"
    return Fault("status", 429, "rate_limit_error", words, headers)


def overloaded() -> Fault:
    return Fault("status", 529, "overloaded_error", "Overloaded")


def broken(status: int = 500) -> Fault:
    return Fault("status", status, "api_error", "Internal server error")


def unauthorized() -> Fault:
    return Fault("status", 401, "authentication_error", "invalid x-api-key")


def rejected(message: str = "max_tokens: must be positive") -> Fault:
    return Fault("status", 400, "invalid_request_error", message)


def too_long() -> Fault:
    return rejected("prompt is too long: 212345 tokens > 200000 maximum")


def out_of_credit() -> Fault:
    return rejected("Your credit balance is too low to access the Anthropic API.")


def redirected(to: str = "http://elsewhere.example/v1/messages") -> Fault:
    return Fault("status", 307, headers={"location": to})


def compressed() -> Fault:
    """An answer that says it is compressed, whatever was asked for."""
    return Fault("status", headers={"content-encoding": "gzip"})


def cut() -> Fault:
    """The connection closes in the middle of a content block."""
    return Fault("cut")


def drop() -> Fault:
    """The connection closes without any answer."""
    return Fault("drop")


def stall() -> Fault:
    """The stream begins and then says nothing until the client leaves."""
    return Fault("stall")


def malformed_call() -> Fault:
    """A tool call whose input is not JSON."""
    return Fault("malformed")


def garbage() -> Fault:
    """An event whose data is not JSON."""
    return Fault("garbage")


def error_event(kind: str = "overloaded_error", message: str = "Overloaded") -> Fault:
    """An `error` event within a stream that began with status 200."""
    return Fault("error_event", 200, kind, message)


class MessagesServer:
    """A server on a free port of this machine, alive inside `async with`."""

    path = "/v1/messages"

    def __init__(
        self,
        respond: Respond,
        *,
        faults: Mapping[int, Fault] | Callable[[int, dict[str, Any]], Fault | None] | None = None,
        respond_after: Callable[[dict[str, Any]], Any] | None = None,
        bucket: TokenBucket | None = None,
        cache: PromptCache | None = None,
    ) -> None:
        """`respond_after`: awaited before an answer; hold it to keep calls in flight."""
        self._respond = respond
        self._faults = faults if callable(faults) else (lambda n, _: (faults or {}).get(n))
        self._respond_after = respond_after
        self._bucket = bucket
        self._cache = cache
        self._server: asyncio.Server | None = None
        self._socket = socket.socket()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answered: list[dict[str, Any]] = []  # requests whose replies were sent whole
        self.begun: list[tuple[dict[str, Any], dict[str, Any]]] = []  # what may be billed
        self.usages: list[dict[str, int]] = []  # of those replies
        self.models: list[str] = []  # that those replies named
        self.errors: list[BaseException] = []  # what `respond` itself raised
        self.url = ""

    def reserve(self) -> None:
        """Take a port, and with it `url`, where connections are refused until `async with`."""
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def __aenter__(self) -> Self:
        if not self.url:
            self.reserve()
        self._server = await asyncio.start_server(self._serve, sock=self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begin = await reader.readexactly(1)
        if begin == b"\x16":  # a TLS handshake; servers without TLS close at once, as we do
            return None
        head = (begin + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (h.partition(":") for h in head[1:] if h)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if not head[0].startswith(f"POST {self.path}"):
            return await self._refuse(writer, Fault("status", 404, "not_found_error", head[0]))
        request = json.loads(body)
        self.requests.append(request)
        self.headers.append(headers)
        fault = self._faults(len(self.requests), request)
        if fault is not None and fault.kind == "drop":
            return None
        wait = self._bucket.take() if self._bucket is not None else None
        if wait is not None:
            fault = replace(rate_limited(round(wait, 3)), headers=self._standing(wait))
        if fault is not None and fault.kind == "status":
            return await self._refuse(writer, fault)
        return await self._stream(request, fault, reader, writer)

    def _standing(self, wait: float | None = None) -> dict[str, str]:
        """The headers that say how much is left."""
        if self._bucket is None:
            return {}
        after = {} if wait is None else {"retry-after": f"{wait:.3f}"}
        return {**after, **self._bucket.headers(time.time())}

    async def _stream(  # noqa: C901 - one stream's events, in their order
        self,
        request: dict[str, Any],
        fault: Fault | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        looked_up = self._cache.look_up(request) if self._cache is not None else None
        try:
            said = self._respond(request)
            if self._respond_after is not None:
                await self._respond_after(request)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.errors.append(error)
            return await self._refuse(writer, Fault("status", 400, "emulator", repr(error)))
        answer = dict(said) if isinstance(said, Mapping) else {"content": said}
        usage = _usage(request, answer["content"])
        if looked_up is not None:
            usage |= looked_up.usage()
        usage |= answer.get("usage", {})
        self.begun.append((request, usage))
        head = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "connection: close",
                *(f"{name}: {value}" for name, value in self._standing().items()),
                "transfer-encoding: chunked", "", ""]  # fmt: skip
        writer.write("\r\n".join(head).encode())
        for number, event in enumerate(self._events(request, answer, usage, fault)):
            _chunk(writer, event)
            await writer.drain()
            if number == 0 and looked_up is not None:
                looked_up.begun()
        if fault is None:
            self.answered.append(request)
            self.models.append(str(answer.get("model", request["model"])))
            self.usages.append(usage)
        if fault is not None and fault.kind == "stall":
            await reader.read()  # until the client gives up
        elif fault is None or fault.kind != "cut":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return None

    def _events(
        self,
        request: Mapping[str, Any],
        answer: Mapping[str, Any],
        usage: Mapping[str, int],
        fault: Fault | None,
    ) -> list[bytes]:
        """The stream, in this server's dialect."""
        return _events(request, answer, usage, fault)

    def _error(self, fault: Fault) -> dict[str, Any]:
        """The body of an error answer."""
        return {"type": "error", "error": {"type": fault.type, "message": fault.message}}

    async def _refuse(self, writer: asyncio.StreamWriter, fault: Fault) -> None:
        body = json.dumps(self._error(fault)).encode()
        head = [f"HTTP/1.1 {fault.status} X", "content-type: application/json", "connection: close"]
        head += [f"{name}: {value}" for name, value in fault.headers.items()]
        head += [f"content-length: {len(body)}", "", ""]
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()


def _events(
    request: Mapping[str, Any],
    answer: Mapping[str, Any],
    usage: Mapping[str, int],
    fault: Fault | None,
) -> list[bytes]:
    blocks = [_with_id(block, n, request) for n, block in enumerate(answer["content"])]
    calls = any(block["type"] == "tool_use" for block in blocks)
    model = answer.get("model", request["model"])
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model,
               "content": [], "stop_reason": None, "stop_sequence": None,
               "usage": {**usage, "output_tokens": 1}}  # fmt: skip
    events = [_event("message_start", message=message), _event("ping")]
    if fault is not None and fault.kind == "error_event":
        events.append(_event("error", error={"type": fault.type, "message": fault.message}))
    if fault is not None and fault.kind == "garbage":
        events.append(b"event: content_block_start\ndata: {not json\n\n")
    for index, block in enumerate(blocks):
        events += _block_events(
            index, block, malformed=fault is not None and fault.kind == "malformed"
        )
    if fault is not None and fault.kind in ("cut", "stall"):
        return events[: 2 + (len(events) - 2 + 1) // 2]
    reason = answer.get("stop_reason") or ("tool_use" if calls else "end_turn")
    events.append(
        _event(
            "message_delta",
            delta={"stop_reason": reason, "stop_sequence": None},
            usage={"output_tokens": usage["output_tokens"]},
        )
    )
    return [*events, _event("message_stop")]


def _block_events(index: int, block: Mapping[str, Any], *, malformed: bool) -> list[bytes]:
    if block["type"] == "text":
        start, words = {"type": "text", "text": ""}, block["text"]
        deltas = [{"type": "text_delta", "text": part} for part in _halves(words)]
    else:
        start = {**block, "input": {}}
        words = json.dumps(block["input"])
        words = words[:-1] if malformed else words
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in _halves(words)]
    return [
        _event("content_block_start", index=index, content_block=start),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]


def _with_id(block: Mapping[str, Any], n: int, request: Mapping[str, Any]) -> dict[str, Any]:
    if block["type"] != "tool_use":
        return dict(block)
    return {"id": f"toolu_{len(request['messages'])}_{n}", **block}


def _usage(request: Mapping[str, Any], content: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """About four characters to a token, nothing cached."""
    return {
        "input_tokens": len(json.dumps(request)) // 4,
        "output_tokens": max(1, len(json.dumps(list(content))) // 4),
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }


def _halves(words: str) -> list[str]:
    middle = len(words) // 2
    return [part for part in (words[:middle], words[middle:]) if part]


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
