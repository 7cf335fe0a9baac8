"""Probes over the network: an HTTP request and what its answer says, or a bare connection."""

import asyncio
import time
from typing import Any

from harness.sla.surroundings import ANSWER_LIMIT, Surroundings, inside, moment, number
from orchestrator.errors import ProbeError
from orchestrator.sla.probes import Http, JsonAnswer, Tcp


async def http(probe: Http, around: Surroundings) -> float:
    """Latency in seconds, the status, or the number or age of what stands at `json_path`."""
    began = time.perf_counter()
    status, body = await _asked(probe, around)
    took = time.perf_counter() - began
    if probe.measure == "status":
        return float(status)
    if status != probe.expect:
        raise ProbeError(f"answered {status}, not {probe.expect}")
    if probe.measure == "latency":
        return took
    assert probe.json_path is not None  # the file is refused without it
    value = inside(body, probe.json_path)
    return number(value) if probe.measure == "value" else around.age(moment(value))


async def value_at(answer: JsonAnswer, around: Surroundings) -> Any:
    """What stands at `json_path` of an answer with status 200."""
    status, body = await _asked(answer, around)
    if status != 200:
        raise ProbeError(f"answered {status}, not 200")
    return inside(body, answer.json_path)


async def _asked(probe: Http | JsonAnswer, around: Surroundings) -> tuple[int, bytes]:
    import httpx2  # noqa: PLC0415 - 80 ms

    headers = {name: around.secret(env) for name, env in probe.headers_env.items()}
    try:
        async with around.client.stream(
            probe.method, probe.url, headers=headers, json=probe.body
        ) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > ANSWER_LIMIT:
                    raise ProbeError(f"the answer is longer than {ANSWER_LIMIT} bytes")
            return response.status_code, bytes(body)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        kind = type(error).__name__
        raise ProbeError(f"no answer: {kind} {str(error)[:200]}".rstrip()) from None


async def tcp(probe: Tcp, _around: Surroundings) -> float:
    """Seconds until the connection stands and, where expected, the server has spoken."""
    began = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection(probe.host, probe.port)
    except OSError as error:
        raise ProbeError(f"no connection: {error.strerror or error}") from None
    try:
        if probe.expect is not None:
            await _hear(reader, probe.expect)
    except OSError as error:
        raise ProbeError(f"the connection broke: {error.strerror or error}") from None
    finally:
        writer.transport.abort()
    return time.perf_counter() - began


async def _hear(reader: asyncio.StreamReader, expected: str) -> None:
    heard = b""
    while expected.encode() not in heard:
        part = await reader.read(1024)
        if not part or len(heard) > 64 * 1024:
            raise ProbeError(f"the server did not say {expected!r} but {heard[:60]!r}")
        heard += part
