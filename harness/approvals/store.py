"""Keeps requests for approval and their answers; the first answer that counts stands."""

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.ports import Clock
from orchestrator import approval_requests as rules
from orchestrator.approval_requests import Answer, People, Request, Standing
from orchestrator.errors import MachineError
from orchestrator.reporting.wording import visible

TABLES = """
CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, asked DOUBLE PRECISION NOT NULL,
    body TEXT NOT NULL, people TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS secret (one INTEGER PRIMARY KEY, value TEXT NOT NULL);
"""
#: The first of its key stands.
_ASK = "INSERT INTO requests VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_ANSWER = "INSERT INTO answers VALUES (?, ?) ON CONFLICT DO NOTHING"
_MAKE = "INSERT INTO secret VALUES (1, ?) ON CONFLICT DO NOTHING"
_ALL = (
    "SELECT r.body, r.people, a.body FROM requests r "
    "LEFT JOIN answers a ON a.request = r.id ORDER BY r.asked DESC, r.id"
)
_BUSY_SECONDS = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its answer, and who may give one."""

    request: Request
    people: People
    answer: Answer | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one answer. `counted`: it was the one that decided. `words`: for whoever
    gave it, true also when somebody else was faster."""

    counted: bool
    standing: Standing
    words: str


class ApprovalStore:
    """One SQLite file of the workspace; safe for several processes. All methods block shortly.
    Raises `MachineError` when it cannot be read or written."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    @property
    def folder(self) -> Path:
        """Where it is kept; whoever serves it keeps what belongs to it beside it."""
        return self._path.parent

    def ask(self, request: Request, people: People) -> None:
        """Keep a request. One that is known already stays as it is: a restart asks again."""
        request = shown(request)
        row = (request.id, request.asked, _dump(request), _dump(people))
        self._do(lambda statements: statements.execute(_ASK, row))

    def find(self, id_: str) -> Asked | None:
        return next((a for a in self.all() if a.request.id == id_), None)

    def all(self) -> list[Asked]:
        """Newest first."""
        if not self._is_there():
            return []
        rows = self._do(lambda statements: statements.execute(_ALL).fetchall())
        now = self._clock.now()
        return [_asked(r, who, a, now) for r, who, a in rows]

    def answer(self, id_: str, answer: Answer, *, commit: str = "", digest: str = "") -> Outcome:
        """Take an answer in, if it counts and nobody was faster: compare and set."""
        asked = self.find(id_)
        if asked is None:
            return Outcome(False, "expired", f"there is no request {id_}")
        if asked.answer is None:
            why = rules.refusal(asked.request, answer, asked.people, commit=commit, digest=digest)
            if why:
                return Outcome(False, asked.standing, why)
            if self._first(id_, answer):
                return Outcome(True, answer.verdict, f"{answer.verdict} by {answer.by}")
            asked = self.find(id_)
        assert asked is not None
        assert asked.answer is not None
        return Outcome(False, asked.standing, told(asked.answer, answer))

    def withdraw(self, id_: str, by: str, reason: str) -> Standing:
        """Close a request that what came after it has made needless, unless it was decided: where
        it stands now. By the same compare and set as an answer, so that one of both counts."""
        asked = self.find(id_)
        if asked is None:
            return "superseded"  # never asked, so nobody can answer it
        if asked.standing == "pending":
            answer = Answer("superseded", by, visible(reason), self._clock.now(), "deploy")
            self._first(id_, answer)
            asked = self.find(id_)
            assert asked is not None
        return asked.standing

    def secret(self) -> bytes:
        """What this workspace signs its links with, made once; nobody else may read the file."""
        made = secrets.token_hex(32)

        def make(statements: Any) -> Any:
            statements.execute(_MAKE, (made,))
            return statements.execute("SELECT value FROM secret").fetchone()

        return str(self._do(make)[0]).encode()

    def _first(self, id_: str, answer: Answer) -> bool:
        """Keep it; whether it is the one that stands."""
        row = (id_, _dump(answer))
        return bool(self._do(lambda statements: statements.execute(_ANSWER, row).rowcount))

    def _is_there(self) -> bool:
        """Whether anything was ever asked: looking makes no file."""
        return self._path.exists()

    def _do(self, work: Callable[[Any], T]) -> T:
        """`work` with what executes statements, in one transaction."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(0o600)
            connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
            try:
                connection.executescript(TABLES)
                with connection:
                    return work(connection)
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise MachineError(
                f"{self._path}: the approvals cannot be kept ({error}); free the disk, or move "
                "the file away to ask again"
            ) from error


def shown(request: Request) -> Request:
    """As people may be shown it: agents have named the files that it speaks of, and no terminal
    sequence or reversed writing among them may change what is read."""
    facts = tuple((name, visible(text)) for name, text in request.facts)
    return replace(request, reasons=tuple(map(visible, request.reasons)), facts=facts)


def told(first: Answer, late: Answer) -> str:
    """To whoever answered after somebody else, or twice."""
    if first.verdict == "superseded":
        return f"nobody is asked any more: {first.reason}"
    if (first.by, first.verdict) == (late.by, late.verdict):
        return f"you have {first.verdict} it already"
    return f"{first.by} has {first.verdict} it already"


def _dump(value: Any) -> str:
    return json.dumps(asdict(value), separators=(",", ":"))


def _asked(request: str, people: str, answer: str | None, now: float) -> Asked:
    data = _tuples(json.loads(request))
    data["facts"] = tuple((name, text) for name, text in data["facts"])
    wanted = Request(**data)
    who = json.loads(people)
    approvers = {name: tuple(others) for name, others in who["approvers"].items()}
    given = None if answer is None else Answer(**json.loads(answer))
    standing = rules.standing(wanted, given, now)
    return Asked(wanted, People(approvers, tuple(who["experts"])), given, standing)


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
