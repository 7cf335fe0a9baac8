"""Runs inside the sandbox: starts the service and carries connections to it over two pipes.

The sandbox's network has no way in; whoever opened it holds this program's standard input and
output. A frame is a connection's number, a kind and a length, then so many bytes: `o` opens, `d`
is data, `c` closes; `l` is what the service prints, `x` its end. Only the standard library: it is
given to the sandbox's Python as text.
"""

import asyncio
import contextlib
import os
import struct
import sys

HEAD = struct.Struct("!IcI")
CHUNK = 65536


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes] | None:
    """None at the end of the stream."""
    try:
        number, kind, length = HEAD.unpack(await reader.readexactly(HEAD.size))
        if length > CHUNK:  # never sent; whoever says so would have the other side hold it all
            return None
        return number, kind, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Relay:
    """One service, and the connections to it by number."""

    def __init__(self, port: int, out: int) -> None:
        self._port = port
        self._out = out
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, number: int, kind: bytes, data: bytes = b"") -> None:
        view = memoryview(HEAD.pack(number, kind, len(data)) + data)
        while view:
            view = view[os.write(self._out, view) :]

    async def take(self, number: int, kind: bytes, data: bytes) -> None:
        if kind == b"o":
            await self._open(number)
            return
        writer = self._writers.get(number)
        if writer is None:
            return
        with contextlib.suppress(ConnectionError):
            if kind == b"d":
                writer.write(data)
                await writer.drain()
            elif writer.can_write_eof():
                writer.write_eof()

    async def _open(self, number: int) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            self.send(number, b"c")
            return
        self._writers[number] = writer
        task = asyncio.create_task(self._carry(number, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                self.send(number, b"d", data)
        self.send(number, b"c")
        self._writers.pop(number, None)
        writer.close()


async def main(port: int, command: list[str]) -> int:
    loop = asyncio.get_running_loop()
    own = os.dup(1)
    os.dup2(2, 1)  # nothing else may print into the frames
    relay = Relay(port, own)
    frames = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(frames), os.fdopen(0, "rb"))
    service = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    async def print_on() -> None:
        assert service.stdout is not None
        while data := await service.stdout.read(CHUNK):
            relay.send(0, b"l", data)

    async def listen() -> None:
        while (frame := await read_frame(frames)) is not None:
            await relay.take(*frame)

    printing, listening = asyncio.create_task(print_on()), asyncio.create_task(listen())
    ended = asyncio.create_task(service.wait())
    await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        await printing
        relay.send(0, b"x", str(service.returncode).encode())
        return 0
    service.kill()  # nobody is there any more
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(int(sys.argv[1]), sys.argv[2:])))
