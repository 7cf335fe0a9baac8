"""Keeps the one transactional book of money: what is reserved, spent, or of unknown cost.

SQLite in WAL mode, so that many processes share one file and a killed one leaves it whole.
A call reserves its worst case under every scope at once, or nowhere. Amounts are whole
nano-dollars. A reservation is `held` while its call is in flight and then becomes `spent`,
or `unknown` when nobody will tell what it cost; `unknown` counts against the cap for ever,
for a bill that is not known may have been made.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness.ports import Clock
from harness.record import taken
from orchestrator import events
from orchestrator.cost import Balance, Refusal, is_low, nano_down, nano_up, refusal, usd
from orchestrator.errors import MachineError
from orchestrator.values import AttemptKey

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT NOT NULL, scope TEXT NOT NULL, nano INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'spent', 'unknown')));
CREATE INDEX IF NOT EXISTS held_by_key ON entries (key) WHERE state = 'held';
CREATE TABLE IF NOT EXISTS totals (
    scope TEXT PRIMARY KEY, held INTEGER NOT NULL DEFAULT 0,
    spent INTEGER NOT NULL DEFAULT 0, unknown INTEGER NOT NULL DEFAULT 0);
CREATE TRIGGER IF NOT EXISTS entry_added AFTER INSERT ON entries BEGIN
    INSERT OR IGNORE INTO totals (scope) VALUES (new.scope);
    UPDATE totals SET held = held + new.nano * (new.state = 'held'),
                      spent = spent + new.nano * (new.state = 'spent'),
                      unknown = unknown + new.nano * (new.state = 'unknown')
    WHERE scope = new.scope; END;
CREATE TRIGGER IF NOT EXISTS entry_removed AFTER DELETE ON entries BEGIN
    UPDATE totals SET held = held - old.nano * (old.state = 'held'),
                      spent = spent - old.nano * (old.state = 'spent'),
                      unknown = unknown - old.nano * (old.state = 'unknown')
    WHERE scope = old.scope; END;
CREATE TRIGGER IF NOT EXISTS entry_changed AFTER UPDATE ON entries BEGIN
    UPDATE totals SET held = held - old.nano * (old.state = 'held')
                                  + new.nano * (new.state = 'held'),
                      spent = spent - old.nano * (old.state = 'spent')
                                    + new.nano * (new.state = 'spent'),
                      unknown = unknown - old.nano * (old.state = 'unknown')
                                        + new.nano * (new.state = 'unknown')
    WHERE scope = new.scope; END;
"""

#: Seconds to wait for another process that writes; a transaction takes milliseconds.
_BUSY_SECONDS = 30.0

Scope = tuple[str, float | None]
T = TypeVar("T")


class Statements(Protocol):
    """What runs one statement with `?` values: SQLite's connection, or what stands for it."""

    def execute(self, text: str, values: Sequence[Any] = (), /) -> Any: ...

    def executemany(self, text: str, values: Sequence[Sequence[Any]], /) -> Any: ...


class BudgetBook:
    """Reservations and costs by scope. Calls are short and block: use threads where it matters.

    Safe from several threads and processes at once. Scopes are names with a cap in dollars,
    None for no cap; the caller says the caps each time, so the book holds money, not policy.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.DatabaseError as error:
            raise MachineError(
                f"{path} cannot be read as the book of money ({error}); bring back a copy, or move "
                "the file away: what was spent before is then forgotten, and caps begin anew"
            ) from error
        self._db.execute("PRAGMA synchronous = FULL")  # money outlives a power cut
        self._db.executescript("BEGIN IMMEDIATE;" + _SCHEMA + "COMMIT;")

    def reserve(self, scopes: Sequence[Scope], key: str, amount: float | None) -> Refusal | None:
        """Holds `amount` dollars under every scope, or says why not and changes nothing.

        A key that is seen again while held was lost with its process: whether that call was
        charged is unknown, so its first reservation stays, as unknown, beside the new one.
        An amount of None (an unknown price) is refused wherever a scope has a cap.
        """
        nano = None if amount is None else nano_up(amount)

        def reserve(db: Statements) -> Refusal | None:
            db.execute(
                "UPDATE entries SET state = 'unknown' WHERE key = ? AND state = 'held'", (key,)
            )
            refused = refusal([_balance(db, name, cap) for name, cap in scopes], nano)
            if refused is None:
                db.executemany(
                    "INSERT INTO entries (key, scope, nano, state) VALUES (?, ?, ?, 'held')",
                    [(key, name, nano or 0) for name, _ in scopes],
                )
            return refused

        return self._write(reserve, fenced=True)

    def settle(self, key: str, amount: float | None) -> None:
        """The held reservation becomes what the call cost; None keeps it as unknown.

        Nothing happens when nothing is held under `key`, so settling twice settles once.
        """
        state, nano = ("unknown", None) if amount is None else ("spent", nano_up(amount))
        self._write(
            lambda db: db.execute(
                "UPDATE entries SET state = ?, nano = COALESCE(?, nano) "
                "WHERE key = ? AND state = 'held'",
                (state, nano, key),
            )
        )

    def release(self, key: str) -> None:
        """Gives a held reservation back: the call certainly cost nothing."""
        text = "DELETE FROM entries WHERE key = ? AND state = 'held'"
        self._write(lambda db: db.execute(text, (key,)))

    def abandon(self, scope: str) -> float:
        """Marks all that is held under `scope` as unknown; the dollars so marked.

        For the start of a run that owns the scope: whoever held it is dead. Money in flight
        makes others wait, money of unknown cost does not.
        """

        def abandon(db: Statements) -> float:
            held = _balance(db, scope, None).held
            db.execute(
                "UPDATE entries SET state = 'unknown' WHERE state = 'held' AND key IN "
                "(SELECT key FROM entries WHERE scope = ? AND state = 'held')",
                (scope,),
            )
            return usd(held)

        return self._write(abandon)

    def lost(self, scope: str, key: str | None = None) -> list[tuple[int, str, float | None]]:
        """What is of unknown cost under `scope`, and of `key` alone where one is given: a number
        that stays, its key, and the dollars kept for it (None: the price is unknown)."""
        text = (
            "SELECT rowid, key, nano FROM entries WHERE scope = ? AND state = 'unknown' "
            "AND (CAST(? AS TEXT) IS NULL OR key = ?) ORDER BY rowid"
        )
        found = self._read(lambda db: db.execute(text, (scope, key, key)).fetchall())
        return [(entry, name, usd(nano) if nano else None) for entry, name, nano in found]

    def spent(self, scope: str) -> float:
        """Dollars known to be spent."""
        return usd(self.balance(scope).spent)

    def held(self, scope: str) -> float:
        """Dollars reserved: for calls in flight and for calls of unknown cost."""
        balance = self.balance(scope)
        return usd(balance.held + balance.unknown)

    def sums(self, prefix: str) -> tuple[float, float]:
        """Dollars spent, and reserved for calls of unknown cost, of all scopes so named."""
        text = (
            "SELECT COALESCE(SUM(spent), 0), COALESCE(SUM(unknown), 0) FROM totals "
            "WHERE substr(scope, 1, ?) = ?"
        )
        spent, unknown = self._read(lambda db: db.execute(text, (len(prefix), prefix)).fetchone())
        return usd(int(spent)), usd(int(unknown))

    def balance(self, scope: str) -> Balance:
        return self._read(lambda db: _balance(db, scope, None))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _read(self, work: Callable[[Statements], T]) -> T:
        with self._lock:
            return work(self._db)

    def _write(self, work: Callable[[Statements], T], *, fenced: bool = False) -> T:  # noqa: ARG002
        """One writer at a time, among threads by the lock and among processes by SQLite.
        `fenced`: not for a process that was given up for dead, which a file does not know of."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._db)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            return result


def _balance(db: Statements, scope: str, cap: float | None) -> Balance:
    row = db.execute("SELECT spent, unknown, held FROM totals WHERE scope = ?", (scope,)).fetchone()
    return Balance(scope, None if cap is None else nano_down(cap), *(row or (0, 0, 0)))


class RunPurse:
    """A run's money for its attempts: a `Purse` of the agent loop over a `BudgetBook`.

    Every call counts for `run RUN`, `feature ID`, `attempt KEY` and `month YYYY-MM` (of UTC, over
    all runs of the book). A refusal that calls in flight may lift is waited out.
    """

    def __init__(  # noqa: PLR0913 - the caps and where they are kept; all but two are optional
        self,
        book: BudgetBook,
        clock: Clock,
        *,
        run: str,
        run_usd: float | None = None,
        month_usd: float | None = None,
        note: Callable[[events.Event], object] = lambda _event: None,
        patience: float = 1800.0,
    ) -> None:
        """`patience`: seconds to wait for calls in flight; no model call takes half an hour.
        `note` hears, once for each cap, that four fifths of it are used."""
        self._book = book
        self._clock = clock
        self._run = run
        self._run_usd = run_usd
        self._month_usd = month_usd
        self._note = note
        self._capped: dict[str, float] = {}  # scopes that nobody was warned of yet
        self._warned: set[str] = set()
        self._patience = patience

    def retune(self, run_usd: float) -> None:
        """Another cap for the run, from the next reservation on."""
        self._run_usd = run_usd

    @property
    def scope(self) -> str:
        """The run's own scope in the book."""
        return f"run {self._run}"

    async def reserve(
        self,
        key: AttemptKey,
        call: str,
        worst: float | None,
        *,
        feature_usd: float | None,
        attempt_usd: float | None,
    ) -> Refusal | None:
        own = [
            (f"attempt {self._run}/{key}", attempt_usd),
            (f"feature {self._run}/{key.feature}", feature_usd),
        ]
        deadline = self._clock.monotonic() + self._patience
        while True:
            # Anew each time: while it waits, a month can end and a cap can be changed.
            scopes = [*own, (self.scope, self._run_usd), self._month()]
            for name, cap in scopes[1:]:  # one attempt's share is nobody's concern
                if cap is not None and name not in self._warned:
                    self._capped[name] = cap
            refused = await self._reserve_once(scopes, self._key(key, call), worst)
            if refused is None or not refused.temporary or self._clock.monotonic() > deadline:
                return refused
            await self._clock.sleep(1.0)  # calls take seconds; looking more often helps nobody

    async def _reserve_once(
        self, scopes: Sequence[Scope], key: str, worst: float | None
    ) -> Refusal | None:
        asked = asyncio.ensure_future(asyncio.to_thread(self._book.reserve, scopes, key, worst))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            # The thread goes on; the call it reserves for will certainly not be made.
            if await asked is None:
                await asyncio.to_thread(self._book.release, key)
            raise

    async def _warn(self) -> None:
        for name, cap in list(self._capped.items()):
            used = await asyncio.to_thread(self._book.balance, name)
            if is_low(used, nano_down(cap)) and self._capped.pop(name, 0.0):
                self._warned.add(name)
                spent, kept = usd(used.spent), usd(used.unknown + used.held)
                self._note(
                    events.BudgetLow(scope=name, cap_usd=cap, spent_usd=spent, reserved_usd=kept)
                )

    def _month(self) -> Scope:
        month = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m")
        return f"month {month}", self._month_usd

    async def left(self, feature: str, feature_usd: float | None) -> tuple[float | None, ...]:
        """Dollars left of the run and all it counts for, and of the feature: what is neither
        spent nor of unknown cost. None without a cap."""
        names = [(f"feature {self._run}/{feature}", feature_usd), (self.scope, self._run_usd)]
        return await asyncio.to_thread(self._left, [*names, self._month()])

    def _left(self, scopes: Sequence[Scope]) -> tuple[float | None, ...]:
        feature, *others = [
            None if cap is None else max(0.0, cap - usd(used.spent + used.unknown))
            for used, cap in ((self._book.balance(name), cap) for name, cap in scopes)
        ]
        return min((o for o in others if o is not None), default=None), feature

    def book(self, what: str, amount: float) -> None:
        """Dollars that were spent otherwise than by a call, such as for a sandbox: they count
        for the run and the month, and are never refused. `what` is unique. Blocks."""
        key = f"{self._run}/{what}"
        self._book.reserve([(self.scope, None), (self._month()[0], None)], key, amount)
        self._book.settle(key, amount)

    async def settle(self, key: AttemptKey, call: str, actual: float | None) -> None:
        await asyncio.to_thread(self._settle, self._key(key, call), actual)
        await self._warn()

    def _settle(self, key: str, actual: float | None) -> None:
        self._book.settle(key, actual)
        if actual is None:
            self.tell_lost(key)

    def take_over(self) -> None:
        """Before the run goes on: whoever held money for it is dead, and what they asked may have
        been charged. Blocks."""
        self._book.abandon(self.scope)
        self.tell_lost()

    def tell_lost(self, key: str | None = None) -> None:
        """An event for each lost call; told again of one that it knows, the journal keeps one."""
        for entry, name, reserved in self._book.lost(self.scope, key):
            feature, *rest = name.removeprefix(f"{self._run}/").split("/")
            if len(rest) != 2:  # a sandbox's bill, which is known
                continue
            attempt = rest[0]
            self._note(
                events.CallLost(
                    feature=feature, attempt=attempt, entry=entry, reserved_usd=reserved
                )
            )

    async def release(self, key: AttemptKey, call: str) -> None:
        await asyncio.to_thread(self._book.release, self._key(key, call))

    def _key(self, key: AttemptKey, call: str) -> str:
        under = taken.current.get()
        # What a predecessor reserved is its own to settle, even when it thaws late.
        again = f"#{under.generation}" if under is not None and under.generation > 1 else ""
        return f"{self._run}/{key}/{call}{again}"
