"""Keeps samples in Postgres, for monitors and gates on many machines; the same port as files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator import slas
from orchestrator.errors import MachineError
from orchestrator.sla.values import DAY, HourSummary, Sample

if TYPE_CHECKING:
    import psycopg

_TABLES = """
CREATE TABLE IF NOT EXISTS fibreflow_sla_samples (
    sla text NOT NULL, time double precision NOT NULL, state text NOT NULL,
    measured text NOT NULL, value double precision, detail text NOT NULL,
    seconds double precision NOT NULL);
CREATE INDEX IF NOT EXISTS fibreflow_sla_samples_time ON fibreflow_sla_samples (time);
CREATE TABLE IF NOT EXISTS fibreflow_sla_hours (
    sla text NOT NULL, hour double precision NOT NULL, counts jsonb NOT NULL,
    low double precision, high double precision, mean double precision,
    PRIMARY KEY (sla, hour));
"""
_COLUMNS = "sla, time, state, measured, value, detail, seconds"
#: Only one of many monitors compacts at a time; any number that nobody else uses.
_COMPACTION = 7_120_431
_MAKING = 7_120_432
_CONNECT_SECONDS = 5


class PostgresSamples:
    """`harness.sla.store.SampleStore` in two tables, which are made when they are missing.

    A connection for each call: calls are rare, and a server that went away comes back.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._made = False

    def append(self, samples: Sequence[Sample]) -> None:
        rows = [
            (s.sla, s.time, s.state, s.measured, s.value, s.detail.replace("\0", ""), s.seconds)
            for s in samples
        ]
        if not rows:
            return
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO fibreflow_sla_samples ({_COLUMNS}) "  # noqa: S608 - our own words
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                rows,
            )

    def samples(self, since: float = 0.0, sla: str | None = None) -> list[Sample]:
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM fibreflow_sla_samples "  # noqa: S608 - our own words
                "WHERE time >= %s AND (%s::text IS NULL OR sla = %s) ORDER BY time",
                (since, sla, sla),
            ).fetchall()
        return [Sample(*row) for row in rows]

    def hours(self, sla: str | None = None) -> list[HourSummary]:
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT sla, hour, counts, low, high, mean FROM fibreflow_sla_hours "
                "WHERE %s::text IS NULL OR sla = %s ORDER BY hour, sla",
                (sla, sla),
            ).fetchall()
        return [HourSummary(*row) for row in rows]

    def compact(self, now: float, retention: float) -> int:
        before = (now - DAY) // slas.HOUR * slas.HOUR
        with self._connection() as connection:
            # Held until the transaction ends: what is summarised and what is removed is the same.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_COMPACTION,))
            rows = connection.execute(
                f"DELETE FROM fibreflow_sla_samples WHERE time < %s RETURNING {_COLUMNS}",  # noqa: S608
                (before,),
            ).fetchall()
            for summary in slas.summarize(Sample(*row) for row in rows):
                self._keep(connection, summary)
            connection.execute(
                "DELETE FROM fibreflow_sla_hours WHERE hour < %s", (now - retention,)
            )
        return len(rows)

    def _keep(self, connection: "psycopg.Connection[Any]", hour: HourSummary) -> None:
        from psycopg.types.json import Jsonb  # noqa: PLC0415

        connection.execute(
            "INSERT INTO fibreflow_sla_hours (sla, hour, counts, low, high, mean) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (sla, hour) DO NOTHING",
            (hour.sla, hour.hour, Jsonb(dict(hour.counts)), hour.low, hour.high, hour.mean),
        )

    def _make(self, connection: "psycopg.Connection[Any]") -> None:
        """In a transaction of its own, one process at a time: making what is there already locks
        the tables all the same, and two that do so while others write stop each other."""
        if self._made:
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            row = connection.execute("SELECT to_regclass('fibreflow_sla_hours')").fetchone()
            if row is None or row[0] is None:
                connection.execute(_TABLES)
        self._made = True

    @contextmanager
    def _connection(self) -> Iterator["psycopg.Connection[Any]"]:
        import psycopg  # noqa: PLC0415 - 80 ms

        try:
            with psycopg.connect(self._address, connect_timeout=_CONNECT_SECONDS) as connection:
                self._make(connection)
                yield connection
        except psycopg.Error as error:
            words = (
                str(error).replace(self._address, "(address)").strip() or "failed"
            ).splitlines()
            raise MachineError(
                f"the SLA samples' Postgres: {words[0][:300]}; see monitoring.store_env"
            ) from None
