"""Puts a monitor together from a file and a workspace, and runs it as a service."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.ports import Clock
from harness.record.clock import SystemClock
from harness.sla import probing
from harness.sla.alerting import Alerting
from harness.sla.monitor import Monitor, read
from harness.sla.page import Page
from harness.sla.senders import senders
from harness.sla.store import FileSamples, SampleStore
from orchestrator.errors import MachineError
from orchestrator.sla.models import Notify
from orchestrator.sla.values import SlaFile

if TYPE_CHECKING:
    import uvicorn


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the service listens, on loopback unless `host` says otherwise. 0 is any free port."""

    page: int
    health: int
    host: str = "127.0.0.1"


def folder(workspace: Path) -> Path:
    """Where everything of the SLAs is kept."""
    return workspace / "logs" / "sla"


def sample_store(file: SlaFile, workspace: Path) -> SampleStore:
    """Files, or Postgres where `monitoring.store_env` names its address."""
    name = file.monitoring.store_env
    if name is None:
        return FileSamples(folder(workspace))
    from harness.sla.store_postgres import PostgresSamples  # noqa: PLC0415

    address = os.environ.get(name, "")
    if not address:
        raise MachineError(
            f"monitoring.store_env: the environment variable {name} is not set; set it to the "
            "address of a Postgres, or remove the key to keep samples in files"
        )
    return PostgresSamples(address)


@contextlib.asynccontextmanager
async def open_monitor(
    path: Path, workspace: Path, *, alerts: bool, clock: Clock | None = None
) -> AsyncIterator[Monitor]:
    """A monitor of the SLAs in `path`; with `alerts` it also tells people."""
    clock = clock or SystemClock()
    file = read(path)
    store = sample_store(file, workspace)
    async with probing.open_prober(workspace, clock) as prober:
        alerting = None
        if alerts:
            notify = file.notify or Notify()
            out = senders(notify, prober.around, folder(workspace) / "alerts.jsonl")
            alerting = Alerting(file, out, folder(workspace) / "alerts.json", clock)
        yield Monitor(file, prober, store, clock, alerting=alerting)


async def serve(
    path: Path, workspace: Path, ports: Ports | None, listening: Callable[[Ports], None]
) -> None:
    """Watch until SIGINT or SIGTERM. `ports` None: those of the file. `listening` is told where
    it listens. Raises `MachineError` when a port is taken, or another watch is at work."""
    with _only_one(folder(workspace)):
        async with open_monitor(path, workspace, alerts=True) as monitor:
            own = monitor.file.monitoring
            wanted = ports or Ports(own.page_port, own.health_port)
            leave = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, leave.set)
            async with _served(monitor, wanted) as real:
                listening(real)
                await _until(leave, monitor)


async def _until(leave: asyncio.Event, monitor: Monitor) -> None:
    watching = asyncio.ensure_future(monitor.watch())
    leaving = asyncio.ensure_future(leave.wait())
    await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if watching.done():
        watching.result()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


@contextlib.asynccontextmanager
async def _served(monitor: Monitor, ports: Ports) -> AsyncIterator[Ports]:
    application = Page(monitor).application()
    servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []
    found: list[int] = []
    try:
        for port in (ports.page, ports.health):
            # Bound here: the server itself would leave the process on a port that is taken.
            listener = bound(ports.host, port)
            found.append(listener.getsockname()[1])
            server = quiet_server(application)
            servers.append((server, asyncio.create_task(server.serve(sockets=[listener]))))
        yield Ports(found[0], found[1], ports.host)
    finally:
        for running, _ in servers:
            running.should_exit = running.force_exit = True
        await asyncio.gather(*(task for _, task in servers), return_exceptions=True)


def quiet_server(application: Any) -> "uvicorn.Server":
    """Serves an ASGI application, and leaves signals to whoever runs it."""
    import uvicorn  # noqa: PLC0415 - 50 ms that only a service needs

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(uvicorn.Config(application, log_level="critical", lifespan="off"))


def bound(host: str, port: int) -> socket.socket:
    """Listening. Raises `MachineError` when the port is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # From here on connections wait: whoever is told of the port may use it at once.
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise MachineError(
            f"port {port} cannot be had: {error.strerror}; give another by --port or --ports, or "
            "in the SLA file's monitoring: dashboard_port and health_port"
        ) from None
    return listener


@contextlib.contextmanager
def _only_one(place: Path) -> Iterator[None]:
    """Two watches over one workspace would announce everything twice."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "watch.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(
                f"another `fibreflow sla watch` is at work in {place.parent.parent}; it is enough"
            ) from None
        yield
