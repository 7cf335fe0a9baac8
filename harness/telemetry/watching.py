"""Carries a run's events to whoever watches it from outside, where a setting asks for that.

`HARNESS_OTLP_ENDPOINT=http://collector:4318` sends traces, `HARNESS_METRICS_LISTEN=9464` (or
HOST:PORT; without a host on loopback) lets metrics be scraped. Both are views of the events and
have a thread of their own: a collector that is slow or gone holds nothing up.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol

from harness.record.journal import iter_events
from harness.services import Services
from orchestrator import events
from orchestrator.errors import FibreFlowError, InputError, MachineError
from orchestrator.events import Event

OTLP = "HARNESS_OTLP_ENDPOINT"
METRICS = "HARNESS_METRICS_LISTEN"
#: How long the end of a run waits for what is still to be told.
_LEAVE_SECONDS = 10.0


class View(Protocol):
    """One way to show events. Called from one thread at a time."""

    def recall(self, event: Event) -> None:
        """It happened in an earlier process, which has shown it."""
        ...

    def take(self, event: Event) -> None: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def watching(services: Services, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Show what happens to the run from here on, and what happened, as the settings ask.

    Raises `InputError` for a setting that cannot be read, `MachineError` where a package is
    missing.
    """
    views = _views(services, environ)
    if not views:
        yield
        return
    for event in iter_events(services.journal.path):
        for view in views:
            view.recall(event)
    waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    thread = threading.Thread(target=_show, args=(waiting, views), name="telemetry", daemon=True)
    services.journal.listen(waiting.put)
    thread.start()
    try:
        yield
    finally:
        waiting.put(None)
        thread.join(_LEAVE_SECONDS)


def _show(waiting: "queue.SimpleQueue[Event | None]", views: list[View]) -> None:
    while (event := waiting.get()) is not None:
        for view in views:
            view.take(event)
    for view in views:
        view.close()


def _views(services: Services, environ: Mapping[str, str]) -> list[View]:
    def warn(text: str) -> None:
        # The journal may be closed when the last of it is told, or be somebody else's by now.
        with contextlib.suppress(FibreFlowError):
            services.journal.write(events.WarningGiven(message=text))

    found: list[View] = []
    try:
        if url := environ.get(OTLP, "").strip():
            from harness.telemetry.otlp import TraceView  # noqa: PLC0415 - 0.2 s, off by default

            found.append(TraceView(_url(url), services.run_folder, warn))
        if listen := environ.get(METRICS, "").strip():
            from harness.telemetry.prometheus import MetricsView  # noqa: PLC0415 - off by default

            found.append(MetricsView(_address(listen), services.run_folder, warn))
    except ModuleNotFoundError as error:
        raise MachineError(
            f"the package {error.name!r} is not installed, which {OTLP} and {METRICS} need: "
            "`pip install 'fibreflow[telemetry]'`, or unset them"
        ) from error
    return found


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise InputError(f"{OTLP}={text}: must begin with http:// or https:// (OTLP over HTTP)")
    return text.rstrip("/")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise InputError(f"{METRICS}={text}: must be a port, or HOST:PORT, such as 9464")
    return host.strip("[]") or "127.0.0.1", int(port)
