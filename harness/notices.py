"""Notices of a workspace: each is told once by its key, in `logs/notices.jsonl`."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from harness.ports import Clock
from harness.record.clock import iso
from harness.record.journal import Lines
from harness.record.workspace import Workspace
from orchestrator.events import Event
from orchestrator.reporting.notices import notice_of
from orchestrator.runs.state import RunState


@dataclass(frozen=True, slots=True)
class Told:
    """One notice on file; `time` is ISO 8601."""

    time: str
    key: str
    kind: str
    text: str


class Notices:
    """What people should hear of, in order. A restart that tells the same again is not heard."""

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._path = workspace.logs / "notices.jsonl"
        self._clock = clock

    def tell(self, key: str, kind: str, text: str) -> bool:
        """Whether it was new. Raises `MachineError` when it cannot be written."""
        if self._path.exists() and f'"key":"{key}"'.encode() in self._path.read_bytes():
            return False
        lines = Lines(self._path)
        try:
            body = {"time": iso(self._clock.now()), "key": key, "kind": kind, "text": text}
            lines.append(body, sync=True)
        finally:
            lines.close()
        return True

    def all(self) -> list[Told]:
        """Oldest first."""
        if not self._path.exists():
            return []
        lines = self._path.read_text("utf-8").splitlines(keepends=True)
        return [Told(**json.loads(line)) for line in lines if line.endswith("\n")]


class Announcer:
    """A journal listener that tells the news of a run. `state` has the event already."""

    def __init__(self, notices: Notices, state: Callable[[], RunState]) -> None:
        self._notices = notices
        self._state = state

    def __call__(self, event: Event) -> None:
        notice = notice_of(event, self._state())
        if notice is not None:
            self._notices.tell(notice.key, notice.kind, notice.text)
