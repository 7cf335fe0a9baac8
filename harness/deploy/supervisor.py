"""Keeps one environment as it is wanted: starts its instances, and serves the live one's port.

    python -m harness.deploy.supervisor FOLDER

FOLDER/wanted.json says which instances there should be, and which of them is live; whoever changes
it, writes it anew. FOLDER/state.json says what there is. The supervisor lives on its own, longer
than any run; it ends when nothing is wanted any more. One for each folder: it holds a lock.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.deploy.instance import Spec
from harness.deploy.relay import CHUNK, HEAD, read_frame
from harness.record import files

#: How soon a change of what is wanted is seen. Seconds.
_LOOK = 0.1
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_HEALTH_SECONDS = 5.0
_LOG_BYTES = 1_000_000


@dataclass
class Instance:
    """One process with its sandbox. `spec` None once it is to end."""

    name: str
    spec: Spec
    folder: Path
    port: int = 0
    healthy: bool = False
    starts: int = 0
    error: str = ""
    _streams: dict[int, asyncio.StreamWriter] = field(default_factory=dict)
    _count: int = 0
    _process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    async def live(self) -> None:
        """Start it, and start it again whenever it ends, until cancelled."""
        server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            if self.spec.address:
                await self._watch_health()
            while True:
                await self._once()
                self.healthy = False
                wait = min(_FIRST_WAIT * 2 ** min(self.starts - 1, 10), _LONGEST_WAIT)
                await asyncio.sleep(wait)
        finally:
            server.close()

    async def _once(self) -> None:
        self.starts += 1
        spec = self.folder / f"{self.name}.spec.json"
        files.replace_json(spec, self.spec.store())
        with self.log.open("ab") as log:
            # The sandbox needs this process's environment; the service sees nothing of it.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "harness.deploy.instance", str(spec),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        process = self._process
        health = asyncio.create_task(self._watch_health())
        try:
            assert process.stdout is not None
            while (frame := await read_frame(process.stdout)) is not None:
                await self._take(*frame)
            await process.wait()
            self.error = self.error or f"ended with exit {process.returncode}; see {self.log}"
        finally:
            health.cancel()
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Closing its input ends the service, its sandbox and the process; killing only if not."""
        for writer in self._streams.values():
            writer.close()
        self._streams.clear()
        self._process = None
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _take(self, number: int, kind: bytes, data: bytes) -> None:
        if kind == b"l":
            self._print(data)
        elif kind == b"x":
            self.error = f"the service ended with exit {data.decode()}"
            self._print(f"-- {self.error}\n".encode())
        writer = self._streams.get(number)
        if writer is None:
            return
        with contextlib.suppress(ConnectionError):
            if kind == b"d":
                writer.write(data)
                await writer.drain()
            elif kind == b"c":
                self._streams.pop(number, None)
                writer.close()

    def _print(self, data: bytes) -> None:
        """What the service says, bounded: it is whoever wrote it that decides how much."""
        with self.log.open("ab") as log:
            if log.tell() < _LOG_BYTES:
                log.write(data)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from outside, to the service."""
        if self.spec.address:
            await lead(self.spec.address, reader, writer)
            return
        process = self._process
        if process is None or process.stdin is None:
            writer.close()
            return
        self._count += 1
        number = self._count
        self._streams[number] = writer
        try:
            await self._say(process.stdin, number, b"o")
            while data := await reader.read(CHUNK):
                await self._say(process.stdin, number, b"d", data)
            await self._say(process.stdin, number, b"c")
        except (ConnectionError, RuntimeError):
            self._streams.pop(number, None)
            writer.close()

    async def _say(
        self, pipe: asyncio.StreamWriter, number: int, kind: bytes, data: bytes = b""
    ) -> None:
        pipe.write(HEAD.pack(number, kind, len(data)) + data)
        await pipe.drain()

    async def _watch_health(self) -> None:
        while True:
            self.healthy = await self._is_healthy()
            await asyncio.sleep(1.0 if self.healthy else 0.1)

    async def _is_healthy(self) -> bool:
        request = f"GET {self.spec.health} HTTP/1.0\r\nHost: localhost\r\n\r\n"
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(request.encode())
                head = await reader.readline()
                writer.close()
        except (OSError, TimeoutError, ValueError):
            return False
        return head.split()[1:2] == [b"200"]


async def lead(address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry a connection on to host:port, both ways until both are through."""
    host, _, port = address.rpartition(":")
    try:
        there, back = await asyncio.open_connection(host, int(port))
    except OSError:
        writer.close()
        return

    async def pour(source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(CHUNK):
                drain.write(data)
                await drain.drain()
            if drain.can_write_eof():
                drain.write_eof()

    try:
        await asyncio.gather(pour(reader, back), pour(there, writer))
    finally:
        back.close()
        writer.close()


class Supervisor:
    """All instances of one environment, and the port that leads to the live one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._instances: dict[str, tuple[Instance, asyncio.Task[None]]] = {}
        self._live = ""
        self._seen = b""
        self._state = b""
        self._server: asyncio.Server | None = None
        self._error = ""

    async def run(self) -> None:
        """Until nothing is wanted, or it is told to end."""
        leave = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, leave.set)
        try:
            while not leave.is_set():
                wanted = self._wanted()
                if not wanted["instances"]:
                    break
                await self._become(wanted)
                self._tell()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(leave.wait(), _LOOK)
        finally:
            await self._end(list(self._instances))
            (self._folder / "state.json").unlink(missing_ok=True)

    def _wanted(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self._folder / "wanted.json").read_bytes())
        return data

    async def _become(self, wanted: dict[str, Any]) -> None:
        if self._server is None:
            await self._listen(wanted.get("listen", 0))
        specs = {name: Spec.load(data) for name, data in wanted["instances"].items()}
        here = {name: instance.spec for name, (instance, _) in self._instances.items()}
        await self._end([name for name, spec in here.items() if specs.get(name) != spec])
        for name, spec in specs.items():
            if name not in self._instances:
                instance = Instance(name, spec, self._folder)
                self._instances[name] = (instance, asyncio.create_task(instance.live()))
        self._live = wanted.get("live", "")

    async def _listen(self, port: int) -> None:
        """Tried again until the port can be had: the one before it may be about to leave."""
        try:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", port)
            self._error = ""
        except OSError as error:
            self._error = f"port {port} cannot be had: {error.strerror or error}"

    async def _end(self, names: list[str]) -> None:
        tasks = [self._instances.pop(name)[1] for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = self._instances.get(self._live)
        if found is None:
            writer.close()
            return
        await found[0].carry(reader, writer)

    def _tell(self) -> None:
        """What there is, written only when it has changed."""
        rows = {
            name: {
                "commit": i.spec.commit, "digest": i.spec.digest, "port": i.port,
                "healthy": i.healthy, "starts": i.starts, "error": i.error,
            }
            for name, (i, _) in self._instances.items()
        }  # fmt: skip
        port = self._server.sockets[0].getsockname()[1] if self._server is not None else 0
        state = {
            "pid": os.getpid(), "port": port, "live": self._live, "error": self._error,
            "instances": rows,
        }  # fmt: skip
        text = json.dumps(state, indent=2).encode()
        if text != self._state:
            files.replace(self._folder / "state.json", text, sync=False)
            self._state = text


def main() -> int:
    folder = Path(sys.argv[1])
    with (folder / "supervisor.lock").open("a") as lock:
        for _ in range(50):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
        else:
            return 0  # another one is at work
        asyncio.run(Supervisor(folder).run())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
