"""Answers command-line agents as a provider would: each request goes through the gateway.

An HTTP server on this machine's loopback, which speaks the Messages API and, for those that know
no other, OpenAI's Responses API. It holds no key of a provider's and hands none out: a
program in a sandbox shows the token of its attempt, and whatever model it names, it is given
its attempt's. What ends the attempt (a limit, a refusal) is answered with an error that clients
do not repeat, for the patience with a provider is ours.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.models import answers, questions, responses_api
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


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How questions are read, and replies said: whole or as a stream."""

    read: Callable[[bytes], tuple[Asked, bool]]
    whole: Callable[[ModelReply], Mapping[str, Any]]
    events: Callable[[ModelReply], Iterator[bytes]]
    ping: Callable[[], bytes]
    failed: Callable[[str], bytes]


_MESSAGES = _Dialect(questions.read, answers.whole, answers.events, answers.ping, answers.failed)
_RESPONSES = _Dialect(
    responses_api.read,
    responses_api.whole,
    responses_api.events,
    responses_api.ping,
    responses_api.failed,
)


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
            Route("/v1/responses", self._responses, methods=["POST"]),
            Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off")
        return Server(config)

    async def _messages(self, request: "Request") -> "Response":
        return await self._asked(request, _MESSAGES)

    async def _responses(self, request: "Request") -> "Response":
        return await self._asked(request, _RESPONSES)

    async def _asked(self, request: "Request", dialect: _Dialect) -> "Response":
        session = self._sessions.get(_token(request.headers))
        if session is None:
            return _refusal(401, "authentication_error", "no attempt at work has this token")
        async with contextlib.AsyncExitStack() as room:
            await room.enter_async_context(session.room)
            try:
                asked, stream = dialect.read(await _body(request))
            except ValueError as error:
                return _refusal(400, "invalid_request_error", f"cannot be read: {error}")
            task = session.ask(asked)
            room.pop_all()  # its room is free when it is answered
        return await _answered(task, dialect, stream=stream)

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


async def _answered(
    task: "asyncio.Future[ModelReply]", dialect: _Dialect, *, stream: bool
) -> "Response":
    from starlette.responses import JSONResponse, StreamingResponse  # noqa: PLC0415

    await asyncio.wait({task}, timeout=_PING_SECONDS if stream else None)
    if task.done() and (error := _error(task)) is not None:
        return _refused(error)
    if stream:
        return StreamingResponse(_stream(task, dialect), media_type="text/event-stream")
    return JSONResponse(dialect.whole(task.result()))


async def _stream(task: "asyncio.Future[ModelReply]", dialect: _Dialect) -> AsyncIterator[bytes]:
    """The whole reply as a stream, pings while it is waited for."""
    while not task.done():
        yield dialect.ping()
        await asyncio.wait({task}, timeout=_PING_SECONDS)
    error = _error(task)
    if error is not None:
        yield dialect.failed(str(error))
        return
    for event in dialect.events(task.result()):
        yield event


def _error(task: "asyncio.Future[ModelReply]") -> BaseException | None:
    return LimitReachedError("the attempt is over") if task.cancelled() else task.exception()
