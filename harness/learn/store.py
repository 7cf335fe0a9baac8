"""Keeps `learned_patterns.json`: readable, in a stable order, shared by several processes.

    {"version": 1, "patterns": [{"id", "title", "what", "why", "fix", "status", "status_why",
      "signature": {...}, "scope": {"categories", "features", "files"}, "by", "learned",
      "last_useful", "hits", "with", "without",
      "evidence": {RUN: {"hits": 2, "with": {"tries", "passed", "repeated"}, "without": {...}}}}]}

`hits`, `with` and `without` are the sums of `evidence`, for people; they are written, not read.
A change is made under a lock that the kernel lets go of when a process dies, from what is on file
at that moment, and the file is replaced whole.
"""

import contextlib
import fcntl
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from harness.learn.migrations import VERSION, migrated
from harness.record import files
from orchestrator.errors import InputError, MachineError
from orchestrator.learn.lift import Arm, Status, Tally
from orchestrator.learn.signatures import Signature
from orchestrator.learning import (
    MAX_PLACES,
    PLACE_CHARS,
    TEXT_CHARS,
    TITLE_CHARS,
    Author,
    Pattern,
    clean,
)
from orchestrator.reporting.wording import one_line

#: Some 300,000 patterns; beyond, reading them would fill the memory of a small machine.
_MOST_BYTES = 400_000_000

Patterns = Mapping[str, Pattern]


class PatternStore:
    """Patterns by id. `lock` is a file beside which nothing else is kept."""

    def __init__(self, path: Path, lock: Path) -> None:
        self.path = path
        self._lock_path = lock
        self._threads = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._known: Patterns = MappingProxyType({})

    def load(self) -> Patterns:
        """What is on file now. Raises `InputError` naming the entry that cannot be read."""
        with self._threads:
            return self._load()

    def update(self, change: Callable[[Patterns], Iterable[Pattern]]) -> Patterns:
        """Put what `change` makes of the patterns on file in their place; all of them after it.

        `change` may be called once only, and sees what no other process can change meanwhile.
        Raises `InputError` as `load`, `MachineError` when the file cannot be written.
        """
        with self._threads, self._locked():
            known = self._load()
            changed = {p.id: p for p in change(known) if known.get(p.id) != p}
            if changed:
                self._known = MappingProxyType({**known, **changed})
                files.replace(self.path, text(self._known.values()))
                self._stamp = _stamp(self.path)
            return self._known

    def _load(self) -> Patterns:
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            self._known = MappingProxyType({p.id: p for p in read(self.path)})
            self._stamp = stamp
        return self._known

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Waits for other processes: each holds it for one read and one write."""
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise MachineError(
                f"{self._lock_path}: cannot be locked ({error.strerror or error}); "
                "keep the workspace in a folder you can write to, on a local disk"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def read(path: Path) -> list[Pattern]:
    """The patterns in a file, in its order; none when there is no file.

    Older versions and the roadmap's own list are understood. Raises `InputError`.
    """
    try:
        _check_file(path)
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); mend it, or move it away") from error
    return [_pattern(path, n, entry) for n, entry in enumerate(migrated(path, data), start=1)]


def _check_file(path: Path) -> None:
    """Before it is opened: a pipe would be waited for, and a device never ends."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is no file; move it away")
    if found.st_size > _MOST_BYTES:
        many = f"{found.st_size / 1e6:.0f} MB, more than {_MOST_BYTES / 1e6:.0f}"
        raise InputError(f"{path}: has {many}; remove patterns that help nobody")


def text(patterns: Iterable[Pattern]) -> str:
    """The file's content: the oldest first, so that a diff shows what is new at its end."""
    ordered = sorted(patterns, key=lambda p: (p.learned, p.id))
    body = {"version": VERSION, "patterns": [as_json(pattern) for pattern in ordered]}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


# -------------------------------------------------------------------------------- one entry


def as_json(pattern: Pattern) -> dict[str, Any]:
    """An entry of the file."""
    total = pattern.total
    return {
        "id": pattern.id,
        "title": pattern.title,
        "what": pattern.what,
        "why": pattern.why,
        "fix": pattern.fix,
        "status": pattern.status,
        "status_why": pattern.status_why,
        "signature": asdict(pattern.signature),
        "scope": {
            "categories": list(pattern.categories),
            "features": list(pattern.features),
            "files": list(pattern.files),
        },
        "by": pattern.by,
        "learned": pattern.learned,
        "last_useful": pattern.last_useful,
        **_tally(total),
        "evidence": {run: _tally(tally) for run, tally in sorted(pattern.runs.items())},
    }


def _tally(tally: Tally) -> dict[str, Any]:
    return {"hits": tally.hits, "with": asdict(tally.shown), "without": asdict(tally.withheld)}


def _pattern(path: Path, number: int, data: Any) -> Pattern:
    """Raises `InputError` saying which entry, what is wrong with it, and what to do."""
    try:
        pattern = _read_entry(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        name = data.get("id", "") if isinstance(data, dict) else ""
        raise InputError(
            f"{path}: pattern {number} {name!r} cannot be read ({type(error).__name__}: {error}); "
            "mend it or remove it"
        ) from error
    return pattern


def _read_entry(data: Mapping[str, Any]) -> Pattern:
    """The file can be edited, merged and mangled: every text is cut and cleaned as if a program
    had printed it, and a count that is none is refused."""
    scope = data["scope"]
    return Pattern(
        id=_name(data["id"]),
        signature=_read_signature(data["signature"]),
        title=_text(data, "title", TITLE_CHARS),
        what=_text(data, "what", TEXT_CHARS),
        why=_text(data, "why", TEXT_CHARS),
        fix=_text(data, "fix", TEXT_CHARS),
        by=_one_of(data["by"], get_args(Author), "by"),
        learned=_text(data, "learned", TITLE_CHARS),
        last_useful=_text(data, "last_useful", TITLE_CHARS),
        status=_one_of(data["status"], get_args(Status), "status"),
        status_why=_text(data, "status_why", TEXT_CHARS),
        categories=_places(scope["categories"]),
        features=_places(scope["features"]),
        files=_places(scope["files"]),
        runs=MappingProxyType({_name(r): _read_tally(t) for r, t in data["evidence"].items()}),
    )


_SIGNATURE_TEXTS = ("kind", "error", "where", "message", "test")
_NAME = re.compile(r"[\w.:-]{1,100}")
#: More than any project counts, and still exact where probabilities are computed.
_MOST_COUNTED = 1_000_000


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{str(value)[:40]!r} is not a name of letters, digits, - . : _")
    return value


def _text(data: Mapping[str, Any], name: str, limit: int) -> str:
    return _clean(_string(data, name), limit)


def _read_signature(data: Mapping[str, Any]) -> Signature:
    """Its masks, such as `<n>`, are kept: it is compared and shown to people, not to agents."""
    texts = {n: one_line(_string(data, n), TEXT_CHARS) for n in _SIGNATURE_TEXTS}
    return Signature(**texts, version=_count(data["version"]))


def _string(data: Mapping[str, Any], name: str) -> str:
    value = data[name]
    if not isinstance(value, str):
        raise TypeError(f"`{name}` is not text")
    return value


def _clean(text: str, limit: int) -> str:
    """Most are as we wrote them, and a file may have a hundred thousand."""
    if len(text) <= limit and text.isprintable() and "<" not in text:
        return text
    return clean(text, limit)


def _places(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise TypeError("`scope` holds lists of text")
    return tuple(_clean(v, PLACE_CHARS) for v in values[:MAX_PLACES])


def _one_of(value: Any, known: tuple[Any, ...], name: str) -> Any:
    if value not in known:
        raise ValueError(f"{name} {str(value)[:40]!r} is none of {', '.join(known)}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_COUNTED:
        raise ValueError(f"{str(value)[:40]} is not a count from 0 to {_MOST_COUNTED}")
    return value


def _read_tally(data: Mapping[str, Any]) -> Tally:
    return Tally(_count(data["hits"]), _read_arm(data["with"]), _read_arm(data["without"]))


def _read_arm(data: Mapping[str, Any]) -> Arm:
    arm = Arm(*(_count(data[name]) for name in ("tries", "passed", "repeated")))
    if max(arm.passed, arm.repeated) > arm.tries:
        raise ValueError(f"more attempts passed or failed than the {arm.tries} there were")
    return arm


def _stamp(path: Path) -> tuple[int, ...]:
    """Tells one content of the file from another: it is always replaced, never written into."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
