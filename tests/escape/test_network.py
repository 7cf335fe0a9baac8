"""Ways out over the network, each tried from inside a sandbox that is allowed some or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.ports import Base, BaseSpec, Connection, Sandbox, SandboxLimits
from harness.sandboxes.local import LocalSandboxProvider

FETCH = (
    "import sys, urllib.request as u\n"
    "try:\n    print(u.urlopen(sys.argv[1], timeout=20).read().decode())\n"
    "except Exception as e:\n    sys.exit(f'{e} {getattr(e, \"read\", bytes)()!r}')\n"
)
#: Straight to an address, past any proxy.
DIRECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello from the host")
    await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def service() -> AsyncIterator[int]:
    """A service on the host's loopback; its port."""
    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def fetch(box: Sandbox, url: str) -> tuple[int, str]:
    result = await box.exec(["python", "-c", FETCH, url], timeout=60)
    return result.exit, result.text + result.err.decode()


async def test_what_is_allowed_by_name_and_port_is_reached_and_nothing_else(
    provider: LocalSandboxProvider, base: Base, seen: list[Connection]
) -> None:
    async with service() as meant, service() as other:
        limits = SandboxLimits(allow=(f"127.0.0.1:{meant}",))
        box = await provider.create(base, "agent", limits=limits)
        code, said = await fetch(box, f"http://127.0.0.1:{meant}/")
        assert (code, said) == (0, "hello from the host\n")
        code, said = await fetch(box, f"http://127.0.0.1:{other}/")
        assert code != 0
        assert "not on the sandbox's allow list" in said
        for port in (meant, other):
            assert (await box.exec(["python", "-c", DIRECT, "127.0.0.1", str(port)])).exit != 0
    assert [(c.sandbox, c.port, c.allowed) for c in seen] == [
        ("agent", meant, True),
        ("agent", other, False),
    ]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
     "http://127.0.0.1/", "http://2130706433/", "http://169.254.169.254/latest/meta-data/",
     "http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://0.0.0.0/"],
)  # fmt: skip
async def test_all_of_the_internet_is_not_the_host_nor_its_cloud(
    provider: LocalSandboxProvider, base: Base, seen: list[Connection], url: str
) -> None:
    box = await provider.create(base, "agent", limits=SandboxLimits(allow=("*",)))
    async with service() as port:
        code, said = await fetch(box, url.format(port=port))
    assert code != 0
    assert "hello from the host" not in said
    assert [c.allowed for c in seen] == [False]
    assert seen[0].reason


@pytest.mark.parametrize("allow", [(), ("*",)])
async def test_nothing_leaves_past_the_proxy(
    provider: LocalSandboxProvider, base: Base, allow: tuple[str, ...]
) -> None:
    box = await provider.create(base, "agent", limits=SandboxLimits(allow=allow))
    for address in ("192.0.2.1", "169.254.169.254", "1.1.1.1"):
        result = await box.exec(["python", "-c", DIRECT, address, "80"])
        assert b"unreachable" in result.err
    dns = "import socket; socket.getaddrinfo('example.org', 80)"
    assert (await box.exec(["python", "-c", dns], timeout=60)).exit != 0
    query = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "s.sendto(b'x', ('192.0.2.53', 53))"
    )
    assert (await box.exec(["python", "-c", query])).exit != 0
    raw = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"
    assert (await box.exec(["python", "-c", raw])).exit != 0


async def test_what_is_reached_is_trusted_as_on_this_machine(
    provider: LocalSandboxProvider, base: Base
) -> None:
    """Where a company's proxy signs with a key of its own, pip must know what the machine knows."""
    box = await provider.create(base, "agent", limits=SandboxLimits(allow=("*",)))
    found = await box.exec('cmp "$PIP_CERT" "$SSL_CERT_FILE" && echo "$PIP_CERT"')
    there = Path("/etc/ssl/certs/ca-certificates.crt")
    if not there.is_file():
        pytest.skip("this machine has no such file")
    assert found.text == f"{there}\n"
    assert await box.download(str(there)) == there.read_bytes()


async def test_two_sandboxes_do_not_reach_each_other(
    provider: LocalSandboxProvider, base: Base
) -> None:
    one, two = await provider.fork(base, ["one", "two"], limits=SandboxLimits(allow=("*",)))
    serve = (
        "import socket, time\ns = socket.create_server(('127.0.0.1', 8000))\n"
        "a = socket.socket(socket.AF_UNIX); a.bind('\\0meet'); a.listen()\n"
        "open('/work/ready', 'w').close()\ntime.sleep(600)"
    )
    running = asyncio.ensure_future(one.exec(["python", "-c", serve], timeout=600))
    ready = (await provider.workspaces()) / "one" / "upper" / "ready"
    async with asyncio.timeout(30):
        while not ready.exists():
            await asyncio.sleep(0.01)
    assert (await two.exec(["python", "-c", DIRECT, "127.0.0.1", "8000"])).exit != 0
    abstract = "import socket; socket.socket(socket.AF_UNIX).connect('\\0meet')"
    assert (await two.exec(["python", "-c", abstract])).exit != 0
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.mark.long
async def test_setup_has_the_internet_but_not_the_hosts_loopback(
    provider: LocalSandboxProvider, base: Base, seen: list[Connection]
) -> None:
    tree = base.folder.parent / "tree"
    async with service() as port:
        setup = f"python - http://127.0.0.1:{port}/ > said 2>&1 <<'END' || true\n{FETCH}END"
        made = await provider.prepare(BaseSpec(tree, "HEAD", setup))
    box = await provider.create(made, "a")
    assert b"hello from the host" not in await box.download("said")
    assert [(c.sandbox, c.port, c.allowed) for c in seen] == [("setup", port, False)]
