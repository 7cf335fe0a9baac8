"""The journal: every event of a run, once, as a line that outlives the process that wrote it."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.ports import Clock
from harness.record.clock import iso
from harness.record.files import sync_folder
from harness.record.workspace import Workspace
from orchestrator import events
from orchestrator.errors import InputError, MachineError
from orchestrator.events import (
    Event,
    FeatureMerged,
    MergeFinished,
    ReviewResolved,
    RunFinished,
    RunStopped,
    WarningGiven,
)
from orchestrator.values import AttemptKey

Listener = Callable[[Event], None]

#: Written through to the disk. All others survive a killed process, which is enough for them:
#: losing their last lines to a power cut costs rework, never a wrong answer.
SYNCED = (MergeFinished, FeatureMerged, RunFinished, RunStopped, ReviewResolved)

#: What one line of the command log keeps of a command; scripts pasted whole are cut.
COMMAND_CHARS = 2000


class Lines:
    """An append-only file of lines: whole lines or nothing, from any thread.

    Raises `MachineError` naming the path when the disk is full or the file cannot be written;
    the file then ends with the last whole line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            # O_RDWR, not O_WRONLY: the last byte is read to see whether a line was cut.
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if new:
                sync_folder(path.parent)
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                os.write(self._fd, b"\n")
        except OSError as error:
            raise _unwritable(path, error) from error

    def append(self, value: Any, *, sync: bool = False) -> None:
        """One JSON value as one line by one `write`, so that concurrent writers never mix."""
        if self._fd < 0:
            raise MachineError(f"{self.path}: the journal was closed before this event")
        line = encode(value)
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                # The disk filled up in the middle: take the piece back rather than leave a line
                # that the next one would be glued to.
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Journal:
    """Events of one run in `path` (`logs/RUN/events.jsonl`).

    One process writes a run's journal at a time (see `Workspace.lock`); within it, any thread.
    `listeners` get each new event after it is on file, in order, under the journal's lock: they
    are cheap and never raise. At opening, a last line cut by a crash is moved to
    `events.jsonl.torn` and a warning event says so; `InputError` names any other broken line.
    """

    def __init__(
        self, path: Path, run: str, clock: Clock, listeners: Iterable[Listener] = ()
    ) -> None:
        self.path = path
        self.run = run
        self._clock = clock
        self._listeners = list(listeners)
        self._lock = threading.RLock()  # re-entrant: a listener may write an event of its own
        self._keys: set[str] = set()
        self._open()

    def _open(self) -> None:
        torn = cut_torn_line(self.path)
        self._keys = {str(data["key"]) for _, data in objects(self.path) if "key" in data}
        self._lines = Lines(self.path)
        if torn:
            self._warn_of(torn)

    def _warn_of(self, torn: int) -> None:
        self.write(
            WarningGiven(
                message=f"the last event was cut off by a crash; its {torn} bytes are kept "
                f"in {self.path.name}.torn and what it recorded is done again"
            )
        )

    def listen(self, listener: Listener) -> None:
        """Add a listener for events from now on."""
        with self._lock:
            self._listeners.append(listener)

    def write(self, event: Event) -> bool:
        """Record `event` with the time and the run; False when its key was written before.

        Blocks for one small write, and for the disk on the few kinds in `SYNCED`.
        Raises `MachineError` when the file cannot be written; the event is then not recorded.
        """
        with self._lock:
            key = event.key
            if key is not None and key in self._keys:
                return False
            stamped = replace(event, time=iso(self._clock.now()), run=self.run)
            self._append(events.to_json(stamped), sync=isinstance(event, SYNCED))
            if key is not None:
                self._keys.add(key)
            for listener in self._listeners:
                listener(stamped)
            return True

    def _append(self, data: dict[str, Any], *, sync: bool) -> None:
        self._lines.append(data, sync=sync)

    def has(self, key: str) -> bool:
        """Whether an event with this key was written, in this process or one before."""
        with self._lock:
            return key in self._keys

    def require(self) -> None:
        """Raises `TakenOverError` when the run is another process's by now, which cannot be where
        the kernel lets go of a lock only with the process; `MachineError` when that is unknown."""

    def stands(self) -> bool:
        """Whether the run is this process's, for certain."""
        try:
            self.require()
        except MachineError:
            return False
        return True

    def close(self) -> None:
        with self._lock:
            self._lines.close()


class CommandLog:
    """What agents ran in their sandboxes, all runs in one file: `logs/agent-commands.jsonl`."""

    def __init__(self, path: Path, run: str, clock: Clock) -> None:
        self._run = run
        self._clock = clock
        self._lines = Lines(path)

    def write(self, key: AttemptKey, command: str, exit_status: int | None, seconds: float) -> None:
        """`exit_status` None: interrupted. Longer commands are cut to `COMMAND_CHARS`."""
        self._lines.append(
            {
                "time": iso(self._clock.now()),
                "run": self._run,
                "feature": key.feature,
                "attempt": key.name,
                "command": _bounded(command, COMMAND_CHARS),
                "exit": exit_status,
                "seconds": round(seconds, 3),
            }
        )

    def close(self) -> None:
        self._lines.close()


def encode(value: Any) -> bytes:
    """One JSON line. Compact, with `type` first for events: `Workspace.runs` relies on both.

    Half a surrogate pair, which hostile text may hold, comes out as its JSON escape.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def iter_events(path: Path) -> Iterator[Event]:
    """The events on file, in order, skipping kinds this version does not know and a last line
    that is still being written. A missing file has none. Raises `InputError` naming the line."""
    for number, data in objects(path):
        try:
            event = events.from_json(data)
        except TypeError as error:
            raise _broken(path, number, str(error)) from error
        if event is not None:
            yield event


def read_events(path: Path) -> tuple[Event, ...]:
    """All of `iter_events` at once."""
    return tuple(iter_events(path))


def all_events(workspace: Workspace) -> Iterator[Event]:
    """The events of all runs of a workspace, the oldest run's first. Raises as `iter_events`."""
    for run in reversed(workspace.runs()):
        yield from iter_events(run.events)


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers (from 1) and objects; a last line that does not parse is left out."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        broken: InputError | None = None
        for number, line in enumerate(file, 1):
            if broken is not None:
                raise broken
            data = _parse(line)
            if data is None:
                # Only an error when another line follows: the last one may be in the writing.
                broken = _broken(path, number, "it is not one JSON object")
            else:
                yield number, data


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return data if isinstance(data, dict) and isinstance(data.get("type"), str) else None


def cut_torn_line(path: Path) -> int:
    """Move a last line that does not parse to `NAME.torn`; how many bytes that was."""
    try:
        with path.open("rb+") as file:
            start = _last_line_start(file.fileno())
            file.seek(start)
            line = file.read()
            if not line or _parse(line) is not None:
                return 0
            torn = path.with_name(path.name + ".torn")
            with torn.open("ab") as keep:
                keep.write(line if line.endswith(b"\n") else line + b"\n")
                keep.flush()
                os.fsync(keep.fileno())
            file.truncate(start)
            return len(line)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _unwritable(path, error) from error


def _last_line_start(fd: int) -> int:
    """Offset of the last line, found from the end so that a long journal is not read for it."""
    end = os.fstat(fd).st_size - 1  # the final newline, if there is one, does not count
    block = 64 * 1024
    while end > 0:
        start = max(0, end - block)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _broken(path: Path, number: int, why: str) -> InputError:
    return InputError(
        f"{path}, line {number}: {why}; the journal was changed by something else. Remove that "
        "line, or start a new run: what is merged is read from the branch, not from here"
    )


def _unwritable(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path}: cannot be written ({error.strerror or error}); free disk space or fix its "
        "permissions, then run `fibreflow resume`"
    )


def _bounded(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    note = f" … [{len(text)} characters]"
    return text[: limit - len(note)] + note
