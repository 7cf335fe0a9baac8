"""The workspace folder: where each file of it lives, who holds it, and which runs it has seen."""

import contextlib
import functools
import json
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.record import taken, workspace_lock
from harness.record.workspace_lock import FencedOff, Holder, Sign
from orchestrator.errors import InputError
from orchestrator.reporting.wording import command
from orchestrator.values import AttemptKey

#: A name that is one folder: no separator, no leading dot, no control character.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run on file. `digest` is that of its inputs, empty when it left no readable run.json.

    `finished`: every feature reached its end. `stopped` says why its last process left before
    that; a run that was killed has neither. Both can be resumed.
    """

    id: str
    folder: Path
    digest: str
    finished: bool
    exit_code: int | None = None
    stopped: str = ""

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"


class Workspace:
    """Layout of the folder with `feature_list.json` and `logs/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._run_folders: dict[str, Path] = {}

    def hint(self, *words: str) -> str:
        """`fibreflow ...` about this workspace as it can be typed where the person is now."""
        return command("" if self.root == Path.cwd() else str(self.root), *words)

    @property
    def feature_list(self) -> Path:
        return self.root / "feature_list.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def progress(self) -> Path:
        return self.root / "claude_progress.md"

    @property
    def patterns(self) -> Path:
        return self.root / "learned_patterns.json"

    @property
    def patterns_lock(self) -> Path:
        return self.logs / ".patterns.lock"

    @property
    def command_log(self) -> Path:
        return self.logs / "agent-commands.jsonl"

    def run_folder(self, run: str) -> Path:
        """Raises `InputError` when `run` is not a plain name."""
        if run not in self._run_folders:
            self._run_folders[run] = self.logs / _plain(run, "run")
        return self._run_folders[run]

    def events(self, run: str) -> Path:
        return self.run_folder(run) / "events.jsonl"

    def run_file(self, run: str) -> Path:
        """The run's inputs: a JSON object with at least `digest`."""
        return self.run_folder(run) / "run.json"

    def attempt_folder(self, run: str, key: AttemptKey) -> Path:
        """`logs/RUN/FEATURE/r1-a01`; while a fleet works on it, see `taken.folder_name`.
        Raises `InputError` when a part is not a plain name."""
        name = taken.folder_name(key.name)
        return self.run_folder(run) / _plain(key.feature, "feature") / name

    def runs(self) -> tuple[RunInfo, ...]:
        """Every run that has a journal, newest first (run ids begin with their time)."""
        found = [p.parent for p in self.logs.glob("*/events.jsonl") if _NAME.match(p.parent.name)]
        return tuple(_info(folder) for folder in sorted(found, key=lambda p: p.name, reverse=True))

    @property
    def newest(self) -> str | None:
        """The id of the newest run."""
        return next((r.id for r in self.runs()), None)

    def find_unfinished(self, digest: str) -> RunInfo | None:
        """The newest run with these inputs whose work was not done; None when there is none."""
        return next((r for r in self.runs() if r.digest == digest and not r.finished), None)

    @contextlib.contextmanager
    def lock(self, fenced_off: FencedOff = lambda _session: False) -> Iterator[Sign]:
        """Hold the workspace for this process; the kernel lets go of it when the process dies.

        One that is frozen keeps it, and may have put down its session of a fleet: when that
        is `fenced_off`, the workspace is taken from it. Yields what puts down one's own, and
        the run that it is for.
        Raises `WorkspaceLockedError` naming the holder, `MachineError` when it cannot be locked.
        """
        fd = workspace_lock.take(self.logs / ".lock", fenced_off)
        try:
            workspace_lock.sign(fd, "", "")
            yield functools.partial(workspace_lock.sign, fd)
            # The pid goes first, the lock with the file: no moment shows a stale holder.
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def holder(self) -> Holder | None:
        """The live process that holds the workspace; None when nobody does."""
        return workspace_lock.holder(self.logs / ".lock")


def new_run_id(now: float, token: str, *, after: str | None = None) -> str:
    """`20261121-084215-a1b2` from seconds since the epoch (in UTC) and a few random letters.

    `after`: a run that the new one must sort behind, whatever a clock that was set back says.
    """
    moment = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
    if after is not None and moment <= after[: len(moment)]:
        with contextlib.suppress(ValueError, OverflowError):  # a name that was not made here
            last = datetime.strptime(after[: len(moment)], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
            moment = f"{last + timedelta(seconds=1):%Y%m%d-%H%M%S}"
    return f"{moment}-{token}"


def _plain(name: str, what: str) -> str:
    if not _NAME.match(name):
        raise InputError(
            f"{what} {name!r} cannot be a folder's name; use letters, digits, '.', '_' and '-'"
        )
    return name


def _info(folder: Path) -> RunInfo:
    last = _last_end(folder / "events.jsonl")
    code = last.get("exit_code")
    return RunInfo(
        id=folder.name,
        folder=folder,
        digest=_digest(folder / "run.json"),
        finished=last.get("type") == "RunFinished",
        exit_code=code if isinstance(code, int) else None,
        stopped=str(last.get("reason") or ""),
    )


def _digest(path: Path) -> str:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return ""
    return str(data.get("digest") or "") if isinstance(data, dict) else ""


def _last_end(path: Path) -> dict[str, Any]:
    """How the run's last process left, empty when it is at work or was killed; found without
    parsing the rest. A raw newline never occurs inside a JSON string, so text of agents cannot
    imitate the mark."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            ends = [
                text.rfind(b'\n{"type":"%s"' % kind) for kind in (b"RunFinished", b"RunStopped")
            ]
            end = max(ends)
            if end < 0 or text.rfind(b'\n{"type":"RunResumed"') > end:
                return {}
            text.seek(end + 1)
            data = json.loads(text.readline())
    except (OSError, ValueError):  # ValueError: an empty file cannot be mapped, or a torn line
        return {}
    return data if isinstance(data, dict) else {}
