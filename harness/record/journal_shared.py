"""The journal of a run that works on many machines: its events are rows of Postgres.

Whoever writes proves, in the same statement, that its session stands. The process that holds the
run copies all rows, its own and the others', to `events.jsonl` in their order, so that every view
reads what it always reads.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.database import Database, Rows
from harness.ports import Clock
from harness.record import files, taken
from harness.record.clock import iso
from harness.record.journal import SYNCED, Journal, Lines, cut_torn_line, objects
from orchestrator import events
from orchestrator.errors import TakenOverError
from orchestrator.events import Event

TABLES = (
    "CREATE TABLE IF NOT EXISTS fibreflow_events (seq BIGSERIAL PRIMARY KEY, run TEXT NOT NULL, "
    "key TEXT, body TEXT NOT NULL, UNIQUE (run, key))",
    "CREATE INDEX IF NOT EXISTS fibreflow_events_of_run ON fibreflow_events (run, seq)",
)
#: One writer at a time per run, so that rows become visible in the order of their numbers. What
#: need not outlive a power cut does not wait for the disk.
_WRITE = """
WITH fence AS (SELECT 1 FROM fibreflow_sessions WHERE id = :session FOR KEY SHARE),
turn AS (SELECT set_config('synchronous_commit', :sync, true),
         pg_advisory_xact_lock(hashtextextended(:run, 46)) FROM fence)
INSERT INTO fibreflow_events (run, key, body)
SELECT :run, CAST(:key AS TEXT), :body FROM turn ON CONFLICT (run, key) DO NOTHING RETURNING seq
"""
_STANDS = "SELECT 1 FROM fibreflow_sessions WHERE id = :session"
_SINCE = "SELECT seq, body FROM fibreflow_events WHERE run = :run AND seq > :seq ORDER BY seq"
#: Nothing, for whoever was taken over: the file and its listeners are the successor's.
_NEWS = (
    "SELECT seq, body FROM fibreflow_events WHERE run = :run AND seq > :seq AND EXISTS "
    "(SELECT 1 FROM fibreflow_sessions WHERE id = :session) ORDER BY seq"
)
_HAS = "SELECT 1 FROM fibreflow_events WHERE run = :run AND key = :key"
_ADD = (
    "INSERT INTO fibreflow_events (run, key, body) VALUES (:run, :key, :body) "
    "ON CONFLICT (run, key) DO NOTHING"
)


class SharedJournal(Journal):
    """A `Journal` whose book is Postgres. Blocks for a round trip or two.

    `holder`: the session of whoever writes for the run itself; what is written for an attempt is
    under the session that took it. Raises `TakenOverError` when that was removed.
    """

    def __init__(
        self, path: Path, run: str, clock: Clock, database: Database, holder: Callable[[], str]
    ) -> None:
        self._database = database
        self._holder = holder
        self._last = 0
        self._catching = False
        super().__init__(path, run, clock)

    def _open(self) -> None:
        """Make the file and the rows the same: a crash leaves the file behind, and a database
        that was lost is told by the file what there was."""
        torn = cut_torn_line(self.path)
        if self.path.exists():
            # A new file under the old name: what a frozen process had in hand to append to the
            # old one is in the rows, and nobody reads it there.
            files.replace(self.path, self.path.read_bytes())
        self._lines = Lines(self.path)
        on_file = [data for _, data in objects(self.path)]
        rows = self._database.do(_SINCE, {"run": self.run, "seq": 0})
        missing = on_file[len(rows) :]
        if missing:
            values = [
                {"run": self.run, "key": data.get("key"), "body": json.dumps(data)}
                for data in missing
            ]
            self._database.do(_ADD, values)
        elif len(rows) > len(on_file):
            for row in rows[len(on_file) :]:
                self._lines.append(json.loads(row[1]))
        rows = self._database.do(_SINCE, {"run": self.run, "seq": 0})
        self._last = max((row[0] for row in rows), default=0)
        self._keys = {str(k) for row in rows if (k := json.loads(row[1]).get("key"))}
        if torn:
            self._warn_of(torn)

    def write(self, event: Event) -> bool:
        stamped = replace(event, time=iso(self._clock.now()), run=self.run)
        session = self._session()
        data = events.to_json(stamped)
        values = {
            "run": self.run,
            "key": event.key,
            "body": json.dumps(data, ensure_ascii=True),
            "session": session,
            "sync": "on" if isinstance(event, SYNCED) else "off",
        }
        with self._lock:
            if event.key is not None and event.key in self._keys:
                return False
            new = bool(self._database.do(_WRITE, values))
            if not new:
                self._require(session)
            self.catch_up()
            return new

    def _session(self) -> str:
        """In whose name this is: the attempt's at hand, else of whoever writes for the run."""
        under = taken.current.get()
        return under.session if under is not None else self._holder()

    def require(self) -> None:
        self._require(self._session())

    def _require(self, session: str) -> None:
        if not self._database.do(_STANDS, {"session": session}):
            raise TakenOverError(
                f"run {self.run}: others took over the work of this process, which gave no "
                "sign for too long; nothing is lost, and it may write nothing more of it"
            )

    def has(self, key: str) -> bool:
        with self._lock:
            found = key in self._keys
            return found or bool(self._database.do(_HAS, {"run": self.run, "key": key}))

    def catch_up(self) -> None:
        """Take in what was written since, here or elsewhere: file, then listeners, in order."""
        with self._lock:
            if self._catching:
                return  # a listener wrote an event: the loop below comes to it
            self._catching = True
            try:
                while rows := self._news():
                    for seq, body in rows:
                        self._take_in(seq, body)
            finally:
                self._catching = False

    def _news(self) -> Rows:
        values = {"run": self.run, "seq": self._last, "session": self._holder()}
        return self._database.do(_NEWS, values)

    def _take_in(self, seq: int, body: str) -> None:
        data = json.loads(body)
        event = events.from_json(data)
        self._append(data, sync=isinstance(event, SYNCED))
        self._last = seq
        if "key" in data:
            self._keys.add(str(data["key"]))
        if event is not None:
            for listener in self._listeners:
                listener(event)


class WorkersJournal(SharedJournal):
    """That of a process that holds no run: it reads the rows and keeps no file."""

    def _open(self) -> None:
        rows = self._database.do(_SINCE, {"run": self.run, "seq": 0})
        self._last = max((row[0] for row in rows), default=0)
        self._keys = {str(k) for row in rows if (k := json.loads(row[1]).get("key"))}
        self.past = tuple(e for row in rows if (e := events.from_json(json.loads(row[1]))))

    def _append(self, data: dict[str, object], *, sync: bool) -> None:
        """The holder of the run keeps the file."""

    def close(self) -> None:
        return None
