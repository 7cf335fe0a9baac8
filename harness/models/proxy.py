"""Answers the Messages API for command-line agents: each request goes through the gateway.

An HTTP server on this machine's loopback. It holds no key of a provider's and hands none out: a
program in a sandbox shows the token of its attempt, and whatever model it names, it is given
its attempt's. What ends the attempt (a limit, a refusal) is answered with an error that clients
do not repeat, for the patience with a provider is ours.
"""

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.ports import ModelReply
from orchestrator.errors import FibreFlowError, ModelRateLimitedError, ModelRejectedError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: Bytes of a question; the API itself takes no more.
_MOST_BYTES = 32_000_000
#: Seconds after which a client is told by a ping that its answer is still waited for.
_PING_SECONDS = 10.0


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


#: Answers one question of one attempt. Raises `FibreFlowError`.
Answer = Callable[[Asked], Awaitable[ModelReply]]


class ModelProxy:
    """One server for all attempts of a process; started with the first that needs it."""

    def __init__(self) -> None:
        self._sessions: dict[str, Answer] = {}
        self._starting = asyncio.Lock()
        self._listener: socket.socket | None = None
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    async def port(self) -> int:
        """The port on 127.0.0.1, listening."""
        async with self._starting:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", 0))
                self._server = await asyncio.to_thread(self._build)
                serve = self._server.serve(sockets=[self._listener])
                self._serving = asyncio.create_task(serve)
            return int(self._listener.getsockname()[1])

    @contextlib.contextmanager
    def session(self, answer: Answer) -> Iterator[str]:
        """A token that `answer` stands behind while the block runs."""
        token = f"attempt-{secrets.token_urlsafe(24)}"
        self._sessions[token] = answer
        try:
            yield token
        finally:
            del self._sessions[token]

    async def close(self) -> None:
        if self._serving is not None:
            self._server.should_exit = self._server.force_exit = True
            await asyncio.gather(self._serving, return_exceptions=True)
            self._serving = None

    def _build(self) -> Any:
        import uvicorn  # noqa: PLC0415 - 50 ms that only these agents need
        from starlette.applications import Starlette  # noqa: PLC0415
        from starlette.routing import Route  # noqa: PLC0415

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals are the run's

        routes = [
            Route("/v1/messages", self._messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off")
        return Server(config)

    async def _messages(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse, StreamingResponse  # noqa: PLC0415

        answer = self._sessions.get(_token(request.headers))
        if answer is None:
            return _refusal(401, "authentication_error", "no attempt at work has this token")
        try:
            given = await _body(request)
            asked = _asked(given)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _refusal(400, "invalid_request_error", f"cannot be read: {error!r}")
        task = asyncio.ensure_future(answer(asked))
        try:
            await asyncio.wait({task}, timeout=_PING_SECONDS)
            if task.done() or not given.get("stream"):
                message = _message(await task)
                if not given.get("stream"):
                    return JSONResponse(message)
        except FibreFlowError as error:
            return _refused(error)
        except asyncio.CancelledError:
            task.cancel()
            raise
        return StreamingResponse(_stream(task), media_type="text/event-stream")

    async def _count(self, request: "Request") -> "Response":
        """About: four characters to a token, as the API itself calls its count an estimate."""
        from starlette.responses import JSONResponse  # noqa: PLC0415

        if _token(request.headers) not in self._sessions:
            return _refusal(401, "authentication_error", "no attempt at work has this token")
        return JSONResponse({"input_tokens": len(await request.body()) // 4})


def _token(headers: Mapping[str, str]) -> str:
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


async def _body(request: "Request") -> dict[str, Any]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    given = json.loads(bytes(data))
    if not isinstance(given, dict):
        raise TypeError("not an object")
    return given


def _asked(given: Mapping[str, Any]) -> Asked:
    """Options that would change whose model it is, or how it is charged, are left out."""
    return Asked(
        system=_blocks(given.get("system") or []),
        tools=tuple(given.get("tools") or ()),
        messages=tuple(
            {"role": m["role"], "content": list(_blocks(m["content"]))} for m in given["messages"]
        ),
        max_tokens=max(1, int(given.get("max_tokens", 4096))),
    )


def _blocks(content: Any) -> tuple[Mapping[str, Any], ...]:
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    return tuple(_plain(block) for block in content)


def _plain(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the plain cache mark: longer lifetimes are priced otherwise."""
    return {**block, "cache_control": {"type": "ephemeral"}} if "cache_control" in block else block


def _refused(error: BaseException) -> "Response":
    if isinstance(error, ModelRejectedError):
        return _refusal(400, "invalid_request_error", str(error))
    if isinstance(error, FibreFlowError):
        # 403 rather than 429 or 5xx, which clients repeat although nothing will change.
        kind = "rate_limit_error" if isinstance(error, ModelRateLimitedError) else "billing_error"
        return _refusal(403, kind, str(error))
    return _refusal(500, "api_error", f"the harness failed: {type(error).__name__}")


def _refusal(status: int, kind: str, message: str) -> "Response":
    from starlette.responses import JSONResponse  # noqa: PLC0415

    body = {"type": "error", "error": {"type": kind, "message": message}}
    return JSONResponse(body, status_code=status, headers={"x-should-retry": "false"})


def _message(reply: ModelReply) -> dict[str, Any]:
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


async def _stream(task: "asyncio.Future[ModelReply]") -> AsyncIterator[bytes]:
    """The whole reply as a stream, pings while it is waited for."""
    try:
        while not task.done():
            yield _event("ping")
            await asyncio.wait({task}, timeout=_PING_SECONDS)
        message = _message(task.result())
    except FibreFlowError as error:
        yield _event("error", error={"type": "billing_error", "message": str(error)})
        return
    finally:
        task.cancel()
    for event in events_of(message):
        yield event


def events_of(message: Mapping[str, Any]) -> Iterator[bytes]:
    """A finished message as the events of the API's stream."""
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
