"""The proxy by itself, between real sockets: what passes, what is refused, what it says of it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from harness.ports import Connection
from harness.sandboxes.allowlist import rules
from harness.sandboxes.egress import EgressProxy


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A web server that says what it was asked."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = b"asked:" + head
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Whatever it is sent, twice."""
    data = await reader.readexactly(4)
    writer.write(data * 2)
    await writer.drain()
    writer.close()


class Net:
    """A proxy and servers on free ports of loopback, until the test ends."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.seen: list[Connection] = []
        self.port = 0

    async def server(self, handler: object) -> int:
        made = await asyncio.start_server(handler, "127.0.0.1", 0)  # type: ignore[arg-type]
        self.stack.callback(made.close)
        return int(made.sockets[0].getsockname()[1])

    async def proxy(self, *allow: str, proxies: Mapping[str, str] | None = None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        made = EgressProxy("box", rules(allow), self.seen.append, proxies or {})
        await self.stack.enter_async_context(made.serving(listener))
        return self.port

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        async with asyncio.timeout(20):
            said = await reader.read()
        writer.close()
        return said


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    async with AsyncExitStack() as stack:
        yield Net(stack)


async def test_plain_http_to_an_allowed_service(net: Net) -> None:
    port = await net.server(answer)
    await net.proxy(f"127.0.0.1:{port}")
    said = await net.ask(
        b"GET http://127.0.0.1:%d/a?b=c HTTP/1.1\r\nHost: forged\r\nProxy-Authorization: x\r\n"
        b"Accept: text/plain\r\nConnection: keep-alive\r\n\r\n" % port
    )
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.partition(b"asked:")[2] == (
        b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n"
        b"Accept: text/plain\r\n\r\n" % port
    )
    assert net.seen == [Connection("box", "127.0.0.1", port, True)]


async def test_a_tunnel_to_an_allowed_service(net: Net) -> None:
    port = await net.server(echo)
    await net.proxy(f"127.0.0.1:{port}")
    said = await net.ask(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nabcd" % port)
    assert said == b"HTTP/1.1 200 Connection established\r\n\r\nabcdabcd"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"CONNECT elsewhere.example:443 HTTP/1.1", b"403"),
        (b"GET http://elsewhere.example/ HTTP/1.1", b"403"),
        (b"CONNECT allowed.example:22 HTTP/1.1", b"403"),
        (b"GET https://allowed.example/ HTTP/1.1", b"400"),
        (b"GET / HTTP/1.1", b"400"),
        (b"CONNECT [::1 HTTP/1.1", b"400"),
        (b"CONNECT allowed.example:notaport HTTP/1.1", b"400"),
        (b"nonsense", b"400"),
        (b"GET http://allowed.example/\nX: y HTTP/1.1", b"400"),
        (b"GET http://allowed.example/ HTTP/1.1\r\nX: y\n\nGET http://evil/", b"400"),
        # Somebody reads of it on a terminal, which these would command.
        (b"CONNECT \x1bc.example:443 HTTP/1.1", b"400"),
        (b"GET http://\x9b2J.example/ HTTP/1.1", b"400"),
        (b"CONNECT nonexistent.invalid:443 HTTP/1.1", b"403"),
    ],
)
async def test_all_else_is_refused(net: Net, request_line: bytes, status: bytes) -> None:
    await net.proxy("allowed.example")
    said = await net.ask(request_line + b"\r\n\r\n")
    assert said.split()[1] == status
    assert not any(c.allowed for c in net.seen)
    if status == b"403":
        assert net.seen[0].reason


async def test_an_endless_header_is_not_read_to_its_end(net: Net) -> None:
    port = await net.server(answer)
    await net.proxy(f"127.0.0.1:{port}")
    _, writer = await asyncio.open_connection("127.0.0.1", net.port)
    writer.write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nX: ".encode())
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            while True:
                writer.write(b"y" * 65536)
                await writer.drain()
    writer.close()
    assert net.seen == []


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",
     "2130706433", "0x7f000001", "127.1"],
)  # fmt: skip
async def test_all_hosts_does_not_mean_those_around_this_machine(net: Net, target: str) -> None:
    await net.proxy("*")
    for line in (f"CONNECT {target}:443 HTTP/1.1", f"GET http://{target}/ HTTP/1.1"):
        said = await net.ask(f"{line}\r\n\r\n".encode())
        assert said.split()[1] in (b"403", b"502")
    assert len(net.seen) == 2
    assert not any(c.allowed for c in net.seen)


async def test_an_address_of_this_machine_is_internal_whatever_it_is(net: Net) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; the system picks its own address
        except OSError:
            pytest.skip("this machine has no address but loopback")
        own = probe.getsockname()[0]
    await net.proxy("*")
    said = await net.ask(f"CONNECT {own}:443 HTTP/1.1\r\n\r\n".encode())
    assert said.split()[1] == b"403"


async def test_by_way_of_the_machines_own_proxy(net: Net) -> None:
    asked: list[bytes] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if asked[-1].startswith(b"CONNECT refused"):
            writer.write(b"HTTP/1.1 407 Who are you\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup")
        await writer.drain()
        writer.close()

    at = f"http://me:p%40ss@127.0.0.1:{await net.server(upstream)}"
    await net.proxy("*", proxies={"http": at, "https": at})
    assert (await net.ask(b"GET http://h/p HTTP/1.1\r\n\r\n")).endswith(b"up")
    assert asked[-1].startswith(b"GET http://h/p HTTP/1.1\r\nHost: h\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in asked[-1]
    assert b"200" in await net.ask(b"CONNECT h:443 HTTP/1.1\r\n\r\n")
    assert asked[-1].startswith(b"CONNECT h:443 HTTP/1.1\r\n")
    assert b"407 Who are you" in await net.ask(b"CONNECT refused:443 HTTP/1.1\r\n\r\n")
    for inside in (b"10.0.0.1", b"2130706433", b"127.1", b"localhost.", b"[::1]", b"0x7f.1"):
        said = await net.ask(b"CONNECT " + inside + b":443 HTTP/1.1\r\n\r\n")
        assert said.split()[1] == b"403"
    assert len(asked) == 3


async def test_more_connections_than_there_is_room_for_wait_outside(net: Net) -> None:
    """Each would take files of the runner, which has others to serve."""
    port = await net.server(answer)
    await net.proxy(f"127.0.0.1:{port}")
    before = len(os.listdir("/proc/self/fd"))
    held = [await asyncio.open_connection("127.0.0.1", net.port) for _ in range(120)]
    for _ in range(300):  # it could take them all meanwhile
        await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) < before + 120 + 80
    for _, writer in held:
        writer.close()
    said = await net.ask(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 200")


@asynccontextmanager
async def held(net: Net) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", net.port)
    yield reader
    writer.close()


async def test_it_serves_one_command_after_the_other(net: Net) -> None:
    port = await net.server(answer)
    made = EgressProxy("box", rules([f"127.0.0.1:{port}"]), net.seen.append, {})
    for _ in range(100):
        async with made.serving(socket.create_server(("127.0.0.1", 0))):
            await asyncio.sleep(0)
    listener = socket.create_server(("127.0.0.1", 0))
    net.port = listener.getsockname()[1]
    async with made.serving(listener):
        said = await net.ask(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 200")


async def test_its_end_ends_every_connection() -> None:
    async with AsyncExitStack() as stack:
        net = Net(stack)
        await net.proxy("*")
        async with held(net) as reader:
            await stack.aclose()
            async with asyncio.timeout(20):
                assert await reader.read() == b""
