"""Notices of a workspace: each is told once by its key, in `logs/notices.jsonl`."""

from harness.ports import Clock
from harness.record.clock import iso
from harness.record.journal import Lines
from harness.record.workspace import Workspace


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
