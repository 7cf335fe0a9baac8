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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.models import questions
from harness.models.questions import Asked
from harness.ports import ModelReply
from orchestrator.errors import (
    FibreFlowError,
    LimitReachedError,
    ModelRateLimitedError,
    ModelRejectedError,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

#: Bytes of a question; the API itself takes no more.
_MOST_BYTES = 32_000_000
#: Seconds after which a client is told by a ping that its answer is still waited for.
_PING_SECONDS = 10.0


#: Questions of one attempt that are read at once; more wait unread, in its own memory.
_AT_ONCE = 8

#: Answers one question of one attempt. Raises `FibreFlowError`.
Answer = Callable[[Asked], Awaitable[ModelReply]]


@dataclass(eq=False, slots=True)
class _Session:
    """One attempt at work, and what is being answered to it."""

    answer: Answer
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    answering: set["asyncio.Future[ModelReply]"] = field(default_factory=set)

    def ask(self, asked: Asked) -> "asyncio.Future[ModelReply]":
        """To one who holds `room`. Goes on when the client leaves, or leaving would be a way to
        ask unmetered."""
        task = asyncio.ensure_future(self.answer(asked))
        self.answering.add(task)
        task.add_done_callback(self._answered)
        return task

    def _answered(self, task: "asyncio.Future[ModelReply]") -> None:
        self.answering.discard(task)
        self.room.release()
        if not task.cancelled():
            task.exception()  # seen, also when the client is gone


class ModelProxy:
    """One server for all attempts of a process; started with the first that needs it."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
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

    @contextlib.asynccontextmanager
    async def session(self, answer: Answer) -> AsyncIterator[str]:
        """A token that `answer` stands behind while the block runs, and no longer."""
        token = f"attempt-{secrets.token_urlsafe(24)}"
        session = self._sessions[token] = _Session(answer)
        try:
            yield token
        finally:
            del self._sessions[token]
            for task in (left := list(session.answering)):
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

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
        session = self._sessions.get(_token(request.headers))
        if session is None:
            return _refusal(401, "authentication_error", "no attempt at work has this token")
        async with contextlib.AsyncExitStack() as room:
            await room.enter_async_context(session.room)
            try:
                asked, stream = questions.read(await _body(request))
            except ValueError as error:
                return _refusal(400, "invalid_request_error", f"cannot be read: {error}")
            task = session.ask(asked)
            room.pop_all()  # its room is free when it is answered
        return await self._answered(task, stream=stream)

    async def _answered(self, task: "asyncio.Future[ModelReply]", *, stream: bool) -> "Response":
        from starlette.responses import JSONResponse, StreamingResponse  # noqa: PLC0415

        await asyncio.wait({task}, timeout=_PING_SECONDS if stream else None)
        if not task.done():
            return StreamingResponse(_stream(task), media_type="text/event-stream")
        if task.cancelled():
            return _refused(LimitReachedError("the attempt is over"))
        error = task.exception()
        if error is not None:
            return _refused(error)
        if not stream:
            return JSONResponse(_message(task.result()))
        return StreamingResponse(_stream(task), media_type="text/event-stream")

    async def _count(self, request: "Request") -> "Response":
        """About: four characters to a token, as the API itself calls its count an estimate."""
        from starlette.responses import JSONResponse  # noqa: PLC0415

        session = self._sessions.get(_token(request.headers))
        if session is None:
            return _refusal(401, "authentication_error", "no attempt at work has this token")
        async with session.room:
            try:
                return JSONResponse({"input_tokens": len(await _body(request)) // 4})
            except ValueError as error:
                return _refusal(400, "invalid_request_error", str(error))


def _token(headers: Mapping[str, str]) -> str:
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


async def _body(request: "Request") -> bytes:
    """Raises `ValueError` for one that is too long, before it is read to its end."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    return bytes(data)


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
    while not task.done():
        yield _event("ping")
        await asyncio.wait({task}, timeout=_PING_SECONDS)
    error = None if task.cancelled() else task.exception()
    if task.cancelled() or error is not None:
        words = str(error or "the attempt is over")
        yield _event("error", error={"type": "billing_error", "message": words})
        return
    for event in events_of(_message(task.result())):
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
