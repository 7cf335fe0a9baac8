"""The only way out of a sandbox: an HTTP proxy that connects to allowed hosts and nothing else.

It speaks CONNECT and plain HTTP, resolves names itself, and connects to the very address it
has looked at. What it is asked for by is hostile: every read is bounded in size and time.
"""

import asyncio
import base64
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined] # the second lacks in the stubs
    getproxies_environment,
    proxy_bypass_environment,
)

from harness.ports import Connection, Observe
from harness.sandboxes.allowlist import Rule, is_internal, permitting

_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 30.0
_IDLE_SECONDS = 600.0
_CHUNK = 64 * 1024
_MOST_CONNECTIONS = 64  # of one sandbox at once; each takes two of this process's files
_OUT_OF_FILES_SECONDS = 1.0
#: What a name or an address is written with; all else could be meant for the terminal on which
#: somebody reads of it.
_HOST = re.compile(r"[a-z0-9_.:%-]+", re.ASCII)
_MOST_TOLD = 10_000  # of one sandbox: a record of them must not become a way to fill the disk
#: Of one connection between client and proxy, not for the server.
_HOP_BY_HOP = {"connection", "proxy-connection", "proxy-authorization", "keep-alive", "host"}


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _RefusedError(Exception):
    """An answer to the client instead of a connection."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...]


class EgressProxy:
    """Serves one sandbox. `observe` is told of every connection, allowed or not.

    `proxies` are the proxies this machine itself has to use, as `getproxies` gives them; a
    host reached through one is resolved there, so only its name can be judged here.
    """

    def __init__(
        self,
        sandbox: str,
        rules: tuple[Rule, ...],
        observe: Observe | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._rules = rules
        self._observe = observe
        self._proxies = getproxies_environment() if proxies is None else proxies
        self._asked = 0
        self._serving: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Accept on `listener`, a socket within the sandbox's network, for as long as the block
        runs; every connection ends with it."""
        listener.setblocking(False)
        accepting = asyncio.ensure_future(self._accept(listener))
        try:
            yield
        finally:
            ending = (accepting, *self._serving)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        """No more than there is room for: the others wait within the sandbox's own network."""
        loop, room = asyncio.get_running_loop(), asyncio.Semaphore(_MOST_CONNECTIONS)
        while True:
            await room.acquire()
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError:
                room.release()
                await asyncio.sleep(_OUT_OF_FILES_SECONDS)
                continue
            task = asyncio.ensure_future(self._serve(client))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            task.add_done_callback(lambda _: room.release())

    async def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection(sock=client, limit=_HEAD_BYTES)
            try:
                await self._answer(reader, writer)
            except _RefusedError as refused:
                text = f"{refused}\n"
                writer.write(
                    f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain\r\n"
                    f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()
                )
                await writer.drain()
            finally:
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            request = await _read_request(reader)
        try:
            upstream = await self._open(request)
        except _RefusedError as refused:
            self._tell(request, allowed=False, reason=str(refused))
            raise
        self._tell(request, allowed=True)
        try:
            if request.method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream[1].write(self._forwarded(request))
            await _relay((reader, writer), upstream)
        finally:
            upstream[1].close()

    def _tell(self, request: _Request, *, allowed: bool, reason: str = "") -> None:
        self._asked += 1
        if self._observe is None or self._asked > _MOST_TOLD:
            return
        if self._asked == _MOST_TOLD:
            reason = f"{reason}; it has asked {_MOST_TOLD} times, no more are listed".lstrip("; ")
        self._observe(Connection(self._sandbox, request.host, request.port, allowed, reason))

    async def _open(self, request: _Request) -> _Streams:
        host, port = request.host, request.port
        rule = permitting(self._rules, host, port)
        if rule is None:
            raise _RefusedError(
                "403 Forbidden", f"{host}:{port} is not on the sandbox's allow list"
            )
        proxy = self._proxy_for(request)
        if proxy is not None:
            if not rule.may_be_internal and _is_internal_literal(host):
                raise _RefusedError("403 Forbidden", f"{host} is not of the internet")
            return await _through(proxy, request)
        for address in await _addresses(host, port):
            if not rule.may_be_internal and await asyncio.to_thread(is_internal, address):
                raise _RefusedError(
                    "403 Forbidden",
                    f"{host} is {address}, of this machine or a private network; "
                    f"allow {host}:{port} by name and port if that is meant",
                )
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port)
        raise _RefusedError("502 Bad Gateway", f"{host}:{port} cannot be reached")

    def _proxy_for(self, request: _Request) -> SplitResult | None:
        scheme = "https" if request.method == "CONNECT" else "http"
        known = dict(self._proxies)
        url = known.get(scheme) or known.get("all")
        if not url or proxy_bypass_environment(f"{request.host}:{request.port}", known):
            return None
        return urlsplit(url if "://" in url else f"http://{url}")

    def _forwarded(self, request: _Request) -> bytes:
        """The request as the server, or the next proxy, wants it: one for each connection."""
        at = request.host if request.port == 80 else f"{request.host}:{request.port}"
        proxy = self._proxy_for(request)
        target = request.path if proxy is None else f"http://{at}{request.path}"
        kept = [f"{name}: {value}" for name, value in request.headers]
        if proxy is not None:
            kept += _credentials(proxy)
        lines = [f"{request.method} {target} HTTP/1.1", f"Host: {at}", "Connection: close", *kept]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _read_request(reader: asyncio.StreamReader) -> _Request:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise _RefusedError(
            "431 Request Header Fields Too Large", "the header is too long"
        ) from None
    first, *rest = head.split("\r\n")
    words = first.split(" ")
    # A line within a line would be a header, or a second request, to whoever reads it next.
    if len(words) != 3 or any(c in line for line in (first, *rest) for c in "\r\n\0"):
        raise _RefusedError("400 Bad Request", "this is an HTTP proxy")
    method, target, _ = words
    try:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _RefusedError("400 Bad Request", "the address cannot be read") from None
    if not host or not _HOST.fullmatch(host) or (method != "CONNECT" and parts.scheme != "http"):
        raise _RefusedError("400 Bad Request", "ask for http://host/path, or CONNECT host:port")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = port or (443 if method == "CONNECT" else 80)
    return _Request(method, host, port, path, _headers(rest))


def _headers(lines: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition(":") for line in lines if line)
    kept = ((name.strip(), value.strip()) for name, _, value in pairs)
    return tuple((n, v) for n, v in kept if n.lower() not in _HOP_BY_HOP)


async def _addresses(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise _RefusedError("502 Bad Gateway", f"{host} cannot be resolved") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_internal_literal(host: str) -> bool:
    name = host.rstrip(".")
    with contextlib.suppress(OSError):  # 127.1, 2130706433 and 0x7f000001 are addresses too
        name = socket.inet_ntoa(socket.inet_aton(name))
    try:
        return is_internal(name)
    except ValueError:  # a name
        return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))


async def _through(proxy: SplitResult, request: _Request) -> _Streams:
    """A connection to `proxy`; for CONNECT, one that leads on to where the request wants to."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                proxy.hostname, proxy.port or 80, limit=_HEAD_BYTES
            )
            if request.method != "CONNECT":
                return reader, writer
            at = f"{request.host}:{request.port}"
            lines = [f"CONNECT {at} HTTP/1.1", f"Host: {at}", *_credentials(proxy)]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            answer = await reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise _RefusedError("502 Bad Gateway", "this machine's own proxy did not answer") from None
    status = answer.split(b" ", 2)[1:2]
    if status != [b"200"]:
        writer.close()
        said = answer.partition(b"\r\n")[0].decode("latin-1")
        raise _RefusedError("502 Bad Gateway", f"this machine's own proxy said: {said}")
    return reader, writer


def _credentials(proxy: SplitResult) -> list[str]:
    if proxy.username is None:
        return []
    plain = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [f"Proxy-Authorization: Basic {base64.b64encode(plain.encode()).decode()}"]


async def _relay(client: _Streams, server: _Streams) -> None:
    """Both directions until the server has said all, or nothing has passed for long."""
    up = asyncio.ensure_future(_pour(client[0], server[1]))
    try:
        await _pour(server[0], client[1])
    finally:
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while True:
        async with asyncio.timeout(_IDLE_SECONDS):
            data = await source.read(_CHUNK)
        if not data:
            break
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


def variables(port: int, certificates: str = "") -> dict[str, str]:
    """What makes programs in a sandbox use the proxy that listens there on `port`, and trust
    the file `certificates`."""
    url = f"http://127.0.0.1:{port}"
    named = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    trusting = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    return (
        dict.fromkeys(named, url)
        | {"NO_PROXY": "", "no_proxy": ""}
        | (dict.fromkeys(trusting, certificates) if certificates else {})
    )
