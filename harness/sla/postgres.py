"""Probes of Postgres: each opens a connection, reads in a read-only transaction, and closes it."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from harness.sla import web
from harness.sla.surroundings import Surroundings, moment, number
from orchestrator.errors import ProbeError
from orchestrator.sla.probes import (
    JsonAnswer,
    PostgresFreshness,
    PostgresLag,
    PostgresQuery,
    Table,
)

if TYPE_CHECKING:
    from psycopg.sql import Composed


async def freshness(probe: PostgresFreshness, around: Surroundings) -> float:
    """Seconds since the newest row."""
    return around.age(await newest(probe, around))


async def lag(probe: PostgresLag, around: Surroundings) -> float:
    """Seconds between the newest of the source and the newest of the target."""
    source = await newest(probe.source, around)
    around.age(source)  # a source from the future would hide or invent a lag
    if isinstance(probe.target, JsonAnswer):
        target = moment(await web.value_at(probe.target, around))
    else:
        target = await newest(probe.target, around)
    around.age(target)
    return max(0.0, source - target)


async def query(probe: PostgresQuery, around: Surroundings) -> float:
    """The number that the query returns."""
    value = await _only_value(around.secret(probe.dsn_env), probe.query, around.timeout)
    if value is None:
        raise ProbeError("the query returned NULL")
    return number(float(value) if isinstance(value, Decimal) else value)


async def newest(table: Table, around: Surroundings) -> float:
    """The latest moment in the column, in seconds since 1970."""
    value = await _only_value(around.secret(table.dsn_env), _newest(table), around.timeout)
    if value is None:
        rows = " that match the filter" if table.filter else ""
        raise ProbeError(f"{table.table} has no rows{rows}")
    return moment(float(value) if isinstance(value, Decimal) else value)


def _newest(table: Table) -> "Composed":
    from psycopg import sql  # noqa: PLC0415 - 80 ms

    column, name = sql.Identifier(table.column), sql.Identifier(*table.table.split("."))
    statement = sql.SQL("SELECT max({}) FROM {}").format(column, name)
    if table.filter is None:
        return statement
    # The filter is the owner's own SQL, and runs read-only like all of it.
    return sql.SQL("{} WHERE ({})").format(statement, sql.SQL(table.filter))


async def _only_value(dsn: str, statement: "str | Composed", timeout: float) -> Any:
    import psycopg  # noqa: PLC0415 - 80 ms

    try:
        connection = await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=max(2, int(timeout))
        )
    except (psycopg.Error, OSError) as error:
        raise ProbeError(f"no connection: {_told(error, dsn)}") from None
    try:
        await connection.execute("BEGIN READ ONLY")
        await connection.execute(f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))}")
        # Binary asks for the protocol in which one text is one statement.
        cursor = await connection.execute(statement, binary=True)
        rows = await cursor.fetchmany(2)
    except psycopg.Error as error:
        raise ProbeError(f"the query failed: {_told(error, dsn)}") from None
    finally:
        await connection.close()
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ProbeError("the query must return one row with one column")
    return rows[0][0]


def _told(error: Exception, dsn: str) -> str:
    """The first line of the error, without the address that holds the password."""
    words = str(error).replace(dsn, "(address)").strip() or type(error).__name__
    return words.splitlines()[0][:300]
