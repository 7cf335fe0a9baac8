"""What a person sees of a run while it runs: a live table, plain lines, JSON lines or nothing."""

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO

from harness.cli import screen_lines
from harness.ports import Clock
from harness.record.clock import SystemClock
from orchestrator import events
from orchestrator.reporting import report
from orchestrator.reporting.wording import unisolated
from orchestrator.runs.state import Fold, RunState

Mode = Literal["live", "plain", "json", "quiet"]

#: Seconds between two pictures at the least (4 a second), and at the most (the clock ticks on).
SOONEST = 0.25
LATEST = 1.0


class Screen:
    """A journal listener that shows the run on `stream`, and shows its report at the end.

    `initial` is the state folded from the events of an earlier process when a run is resumed.
    `clock` makes the times on a live table go on between events. `size` (columns, rows) stands
    in for the terminal's own size. Never raises for a stream that went away: the run is worth
    more than its picture. Safe to call from any thread.
    """

    def __init__(
        self,
        stream: TextIO,
        mode: Mode,
        *,
        clock: Clock | None = None,
        initial: RunState | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.mode = mode
        self.stream = stream
        self._fold = Fold(initial)
        self._lock = threading.Lock()
        self._gone = False
        self._say = screen_lines.Speech(stream)
        self._live: _Live | None = (
            _Live(self, clock or SystemClock(), size) if mode == "live" else None
        )

    @property
    def state(self) -> RunState:
        """The state as the screen knows it; at most one event behind the journal."""
        with self._lock:
            return self._fold.state

    def __call__(self, event: events.Event) -> None:
        """Take in one event. Cheap: the live table is drawn elsewhere."""
        with self._lock:
            self._fold.apply(event)
            if self._live is not None:
                self._live.changed.set()
            elif self.mode == "json":
                self._print(json.dumps(events.to_json(event)))
            elif self.mode == "plain":
                self._print(*self._say.event(event, self._fold))
            elif isinstance(event, events.RunStarted | events.RunResumed):
                self._print(unisolated(self._fold.state))

    def start(self) -> None:
        """Begin to draw the live table; nothing in the other modes."""
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        """Leave the last picture where it is and give the terminal back. Idempotent."""
        if self._live is not None:
            self._live.stop()

    def finish(self, final: report.Report) -> None:
        """Stop, then print the report: its JSON object last in `json`, its summary otherwise."""
        self.stop()
        with self._lock:
            if self.mode == "json":
                self._print(json.dumps(report.to_json(final)))
                return
            lines = report.summary(final)
            self._print(*(lines[:1] if self.mode == "quiet" else (*lines, where_it_is())))

    def __enter__(self) -> "Screen":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _print(self, *lines: str) -> None:
        lines = tuple(self._say.writable(line) for line in lines if line)
        if not lines or self._gone:
            return
        try:
            self.stream.write("\n".join(lines) + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # a closed pipe, a hung-up terminal, a closed file
            self._gone = True


def where_it_is(path: str | None = None, own: str = sys.executable) -> str:
    """The full name of `fibreflow` beside the interpreter `own`, for people whose shell would not
    find it on `path` (the environment's PATH); else empty."""
    here = Path(own).with_name("fibreflow")
    if shutil.which("fibreflow", path=path) is not None or not here.is_file():
        return ""
    return f"fibreflow is {here}"


def mode_for(
    stream: TextIO,
    *,
    as_json: bool = False,
    quiet: bool = False,
    env: Mapping[str, str] = os.environ,
) -> Mode:
    """The mode for what the user asked for and what `stream` can show."""
    if as_json:
        return "json"
    if quiet:
        return "quiet"
    can_draw = stream.isatty() and env.get("TERM", "dumb") not in {"", "dumb", "unknown"}
    return "live" if can_draw else "plain"


class _Live:
    """Draws the table in a thread of its own, at a pace that events cannot raise."""

    def __init__(self, screen: Screen, clock: Clock, size: tuple[int, int] | None) -> None:
        self.changed = threading.Event()
        self._screen = screen
        self._clock = clock
        self._size = size
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None and not self._over.is_set():
            self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self.changed.set()
        if self._thread is not None:
            self._thread.join(5)  # a terminal that blocks (Ctrl-S) must not block the exit
            self._thread = None

    def _run(self) -> None:
        # A hung-up terminal ends the picture, never the run.
        with contextlib.suppress(OSError, ValueError):
            self._pictures()

    def _pictures(self) -> None:
        # Late: rich costs more time to import than the whole program may take to start.
        from rich.live import Live  # noqa: PLC0415

        from harness.cli.screen_table import Picture, console  # noqa: PLC0415

        terminal = console(self._screen.stream, self._size)
        picture = Picture(terminal)
        with Live(console=terminal, auto_refresh=False, vertical_overflow="crop") as live:
            while not self._over.is_set():
                self.changed.clear()
                live.update(picture.of(self._screen.state, self._clock.now()), refresh=True)
                self._over.wait(SOONEST)
                self.changed.wait(LATEST - SOONEST)
            live.update(picture.of(self._screen.state, self._clock.now()), refresh=True)
