"""The other sides that probes meet: real servers on loopback, healthy and otherwise."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from harness.record.clock import SystemClock
from harness.sla.probing import Prober, open_prober
from orchestrator.sla import file as slas_file
from orchestrator.sla.values import Sample

Handler = Callable[[bytes], Awaitable[bytes]]


def answer(body: Any, status: int = 200, kind: str = "application/json") -> bytes:
    """A whole HTTP answer; `body` is sent as it is when it is bytes, else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + data


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[int]:
    """Answers the head of each request with what `handler` returns; the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(h[15:])
                    for h in request.split(b"\r\n")
                    if h.lower()[:15] == b"content-length:"
                ),
                0,
            )
            request += await reader.readexactly(length)
            writer.write(await handler(request))
            await writer.drain()
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


@contextlib.asynccontextmanager
async def speaker(words: bytes) -> AsyncIterator[int]:
    """Says `words` to whoever connects, and then keeps silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def refusing_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def sla_of(probe: Mapping[str, Any], **more: Any) -> Any:
    """The SLA called x with this probe, read as the file would be."""
    body = {"slas": {"x": {"probe": dict(probe), "error": 300, "timeout": 1, **more}}}
    return slas_file.parse(json.dumps(body).encode(), "slas.yaml").slas["x"]


@contextlib.asynccontextmanager
async def prober(workspace: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[Prober]:
    async with open_prober(workspace, SystemClock(), env or {}) as opened:
        yield opened


async def sampled(
    probe: Mapping[str, Any], workspace: Path, env: Mapping[str, str] | None = None, **more: Any
) -> Sample:
    async with prober(workspace, env) as opened:
        return await opened.sample(sla_of(probe, **more))
