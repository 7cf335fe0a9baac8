"""HTTP and TCP probes against healthy, slow, refusing, lying and hanging servers."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.harness.sla.counterparts import answer, refusing_port, sampled, server, speaker


async def http(body: bytes, tmp_path: Path, **probe: Any) -> Any:
    async def handler(_: bytes) -> bytes:
        return body

    async with server(handler) as port:
        given = {"type": "http", "url": f"http://127.0.0.1:{port}/x", **probe}
        return await sampled(given, tmp_path)


VALUE = {"measure": "value", "json_path": "a.0.b"}
AGE = {"measure": "age", "json_path": "at"}


def ago(**parts: float) -> str:
    return (datetime.now(UTC) - timedelta(**parts)).isoformat()


@pytest.mark.parametrize(
    ("body", "probe", "low", "high"),
    [
        (answer({}), {}, 0.0, 1.0),
        (answer({}), {"measure": "status"}, 200, 200),
        (answer({}, 503), {"measure": "status"}, 503, 503),
        (answer({}, 204), {"expect": 204}, 0.0, 1.0),
        (answer({"a": [{"b": 7}]}), VALUE, 7, 7),
    ],
)
async def test_healthy(
    body: bytes, probe: dict[str, Any], low: float, high: float, tmp_path: Path
) -> None:
    sample = await http(body, tmp_path, **probe)
    assert sample.value is not None, sample.detail
    assert low <= sample.value <= high


@pytest.mark.parametrize(
    ("moment", "low", "high"),
    [
        (lambda: ago(minutes=2), 120, 150),
        (lambda: ago(minutes=2).replace("+00:00", "Z"), 120, 150),
        (lambda: time.time() - 60, 60, 90),
        (lambda: int((time.time() - 60) * 1000), 60, 90),
        (lambda: ago(seconds=-25), 0, 0),  # clocks may differ a little
    ],
)
async def test_age(moment: Callable[[], object], low: float, high: float, tmp_path: Path) -> None:
    sample = await http(answer({"at": moment()}), tmp_path, **AGE)
    assert sample.value is not None, sample.detail
    assert low <= sample.value <= high


@pytest.mark.parametrize(
    ("body", "probe", "words"),
    [
        (answer({}, 500), {}, "answered 500"),
        (answer({}, 302), {}, "answered 302"),
        (answer(b"<html>ok</html>"), VALUE, "no JSON"),
        (answer({"a": []}), VALUE, "nothing at a.0.b"),
        (answer({"a": "xx"}), VALUE, "nothing at a.0.b"),
        (answer({"a": [{"b": "7"}]}), VALUE, "no number"),
        (answer({"a": [{"b": True}]}), VALUE, "no number"),
        (answer({"a": [{"b": None}]}), VALUE, "no number"),
        (answer(b'{"a": [{"b": NaN}]}'), VALUE, "no finite number"),
        (answer(b'{"a": [{"b": 1e999}]}'), VALUE, "no finite number"),
        (answer(b"[" * 100_000), VALUE, "no JSON"),
        (answer({"at": "yesterday"}), AGE, "no moment"),
        (answer({"at": ago(hours=-1)}), AGE, "in the future"),
        (answer({"at": 1e300}), AGE, "in the future"),
        (answer(b"x" * 1_100_000), {}, "longer than"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", {}, "no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", {}, "no answer"),
        (b"", {}, "no answer"),
    ],
)
async def test_lying(body: bytes, probe: dict[str, Any], words: str, tmp_path: Path) -> None:
    sample = await http(body, tmp_path, **probe)
    assert sample.state == "no_data"
    assert words in sample.detail


async def test_refusing(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{refusing_port()}/"
    sample = await sampled({"type": "http", "url": url}, tmp_path)
    assert (sample.state, sample.value) == ("no_data", None)
    assert "no answer" in sample.detail


async def test_slow_is_measured_and_too_slow_is_no_data(tmp_path: Path) -> None:
    async def handler(_: bytes) -> bytes:
        await asyncio.sleep(0.3)
        return answer({})

    async with server(handler) as port:
        probe = {"type": "http", "url": f"http://127.0.0.1:{port}/"}
        slow = await sampled(probe, tmp_path, error=0.1)
        assert slow.state == "error"
        assert slow.value is not None
        assert slow.value >= 0.3
        late = await sampled(probe, tmp_path, timeout="100ms")
        assert (late.state, late.detail) == ("no_data", "no answer within 0.1 s")


async def test_hanging(tmp_path: Path) -> None:
    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with server(never) as port:
        probe = {"type": "http", "url": f"http://127.0.0.1:{port}/"}
        sample = await sampled(probe, tmp_path, timeout="200ms")
    assert "no answer within 0.2 s" in sample.detail


async def test_a_body_that_drips_for_ever_ends_with_the_timeout(tmp_path: Path) -> None:
    async with speaker(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\ndrip") as port:
        probe = {"type": "http", "url": f"http://127.0.0.1:{port}/"}
        sample = await sampled(probe, tmp_path, timeout="200ms")
    assert "no answer within" in sample.detail


async def test_the_request_carries_the_secret_and_the_body(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def handler(request: bytes) -> bytes:
        seen.append(request)
        return answer({"value": 3})

    async with server(handler) as port:
        probe = {
            "type": "http",
            "url": f"http://127.0.0.1:{port}/api/query",
            "method": "POST",
            "body": {"path": "reports:newest"},
            "measure": "value",
            "json_path": "value",
            "headers_env": {"Authorization": "CONVEX"},
        }
        sample = await sampled(probe, tmp_path, {"CONVEX": "Bearer secret"})
        assert sample.value == 3
        missing = await sampled(probe, tmp_path, {})
    assert b"Bearer secret" in seen[0]
    assert b'"reports:newest"' in seen[0]
    assert len(seen) == 1
    assert "CONVEX is not set" in missing.detail


# --------------------------------------------------------------------------------------- tcp


async def tcp(port: int, tmp_path: Path, **more: Any) -> Any:
    return await sampled(
        {"type": "tcp", "host": "127.0.0.1", "port": port, **more}, tmp_path, timeout="300ms"
    )


async def test_tcp(tmp_path: Path) -> None:
    async with speaker(b"SSH-2.0-OpenSSH\r\n") as port:
        assert (await tcp(port, tmp_path)).state == "ok"
        assert (await tcp(port, tmp_path, expect="SSH-2.0")).state == "ok"
        # Lying and hanging are the same to a listener: the right words never come.
        lying = await tcp(port, tmp_path, expect="220 mail")
        assert "no answer within" in lying.detail
    async with speaker(b"") as port:
        assert "no answer within" in (await tcp(port, tmp_path, expect="SSH")).detail
    refused = await tcp(refusing_port(), tmp_path)
    assert "no connection" in refused.detail
    unknown = await sampled(
        {"type": "tcp", "host": "no-such-host.invalid", "port": 1}, tmp_path, timeout=5
    )
    assert unknown.state == "no_data"


async def test_tcp_that_says_something_else_and_hangs_up(tmp_path: Path) -> None:
    async def handler(_: bytes) -> bytes:
        return b""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"go away")
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    sample = await tcp(port, tmp_path, expect="SSH")
    listening.close()
    assert "did not say" in sample.detail
