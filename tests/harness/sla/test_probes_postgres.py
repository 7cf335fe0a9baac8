"""Postgres probes against a real server: healthy, slow, refusing, lying and hanging."""

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.harness.sla.counterparts import answer, refusing_port, sampled, server, speaker

ROWS = """
CREATE TABLE reports (updated_at timestamptz, naive timestamp, epoch double precision,
                      day date, words text, kind text);
INSERT INTO reports SELECT now() - i * interval '1 minute',
    (now() AT TIME ZONE 'UTC') - i * interval '1 minute',
    extract(epoch FROM now() - i * interval '1 minute'), current_date, 'x',
    CASE WHEN i < 5 THEN 'new' ELSE 'old' END FROM generate_series(2, 9) AS i;
CREATE SCHEMA "Odd Name";
CREATE TABLE "Odd Name"."select" AS SELECT * FROM reports;
CREATE TABLE empty (updated_at timestamptz);
CREATE TABLE future AS SELECT now() + interval '1 hour' AS updated_at;
"""


@pytest.fixture
def rows(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ROWS)
    return database


def table(**more: Any) -> dict[str, Any]:
    return {"dsn_env": "DB", "table": "reports", "column": "updated_at", **more}


def freshness(**more: Any) -> dict[str, Any]:
    return {"type": "postgres_freshness", **table(**more)}


def query(text: str) -> dict[str, Any]:
    return {"type": "postgres_query", "dsn_env": "DB", "query": text}


@pytest.mark.parametrize(
    ("probe", "minutes"),
    [
        (freshness(), 2),
        (freshness(column="naive"), 2),
        (freshness(column="epoch"), 2),
        (freshness(filter="kind = 'old' AND words LIKE '%x%'"), 5),
        (freshness(table="public.reports"), 2),
        (freshness(table="Odd Name.select"), 2),
    ],
)
async def test_freshness(rows: str, probe: dict[str, Any], minutes: float, tmp_path: Path) -> None:
    sample = await sampled(probe, tmp_path, {"DB": rows}, timeout=10)
    assert sample.value is not None, sample.detail
    assert minutes * 60 <= sample.value < minutes * 60 + 30


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SELECT 7", 7.0),
        ("SELECT 7.5::numeric", 7.5),
        ("SELECT count(*) FROM reports", 8.0),
        ("WITH x AS (SELECT 3 AS n) SELECT n FROM x", 3.0),
        ("SELECT count(*) FROM reports WHERE words LIKE '%'", 8.0),
    ],
)
async def test_query(rows: str, text: str, value: float, tmp_path: Path) -> None:
    sample = await sampled(query(text), tmp_path, {"DB": rows}, timeout=10)
    assert sample.value == value, sample.detail


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (freshness(table="empty"), "no rows"),
        (freshness(filter="kind = 'never'"), "no rows that match"),
        (freshness(table="future"), "in the future"),
        (freshness(column="words"), "no moment"),
        (freshness(table="missing"), "the query failed"),
        (freshness(column="missing"), "the query failed"),
        (freshness(table='reports"; DROP TABLE reports; --'), "the query failed"),
        (freshness(filter="true) UNION SELECT (now()"), "the query"),
        (query("SELECT NULL"), "NULL"),
        (query("SELECT 'seven'"), "no number"),
        (query("SELECT true"), "no number"),
        (query("SELECT 'NaN'::float8"), "no finite number"),
        (query("SELECT 'infinity'::float8"), "no finite number"),
        (query("SELECT 1, 2"), "one row with one column"),
        (query("SELECT 1 WHERE false"), "one row with one column"),
        (query("SELEC 1"), "the query failed"),
        # Read-only, one statement, and nothing of it stays.
        (query("DELETE FROM reports RETURNING 1"), "the query failed"),
        (query("CREATE TABLE evil (x int)"), "the query failed"),
        (query("SELECT 1; DROP TABLE reports"), "the query failed"),
        (query("SELECT 1; COMMIT; DROP TABLE reports"), "the query failed"),
        (query("SET TRANSACTION READ WRITE"), "the query"),
    ],
)
async def test_lying_and_hostile(
    rows: str, probe: dict[str, Any], words: str, tmp_path: Path
) -> None:
    sample = await sampled(probe, tmp_path, {"DB": rows}, timeout=10)
    assert sample.state == "no_data"
    assert words in sample.detail
    with psycopg.connect(rows) as connection:
        (count,) = connection.execute("SELECT count(*) FROM reports").fetchone() or (0,)
    assert count == 8


async def test_slow_ends_by_the_servers_own_timeout(rows: str, tmp_path: Path) -> None:
    sample = await sampled(
        query("SELECT 1 FROM pg_sleep(30)"), tmp_path, {"DB": rows}, timeout="300ms"
    )
    assert sample.state == "no_data"
    with psycopg.connect(rows) as connection:
        busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%'"
        deadline = time.monotonic() + 20
        while (connection.execute(busy).fetchone() or (9,))[0] > 1:  # this query itself
            assert time.monotonic() < deadline, "the query runs on"
            connection.rollback()


async def test_refusing_hanging_and_lying_servers(tmp_path: Path) -> None:
    refused = {"DB": f"postgresql://u:hunter2@127.0.0.1:{refusing_port()}/x"}
    sample = await sampled(freshness(), tmp_path, refused, timeout=5)
    assert "no connection" in sample.detail
    assert "hunter2" not in sample.detail
    async with speaker(b"") as port:
        hanging = {"DB": f"postgresql://u:hunter2@127.0.0.1:{port}/x"}
        sample = await sampled(freshness(), tmp_path, hanging, timeout="300ms")
        assert "no answer within 0.3 s" in sample.detail
    async with speaker(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        lying = {"DB": f"postgresql://u:hunter2@127.0.0.1:{port}/x"}
        sample = await sampled(freshness(), tmp_path, lying, timeout=5)
        assert sample.state == "no_data"
        assert "hunter2" not in sample.detail
    sample = await sampled(freshness(), tmp_path, {"DB": "no dsn hunter2"}, timeout=5)
    assert "hunter2" not in sample.detail
    assert "DB is not set" in (await sampled(freshness(), tmp_path, {})).detail


async def test_lag_between_two_databases(rows: str, postgres: str, tmp_path: Path) -> None:
    target = table(dsn_env="OTHER", filter="kind = 'old'")
    probe = {"type": "postgres_lag", "source": table(), "target": target}
    sample = await sampled(probe, tmp_path, {"DB": rows, "OTHER": rows}, timeout=10)
    assert sample.value == pytest.approx(180, abs=1)
    ahead = {**probe, "source": target, "target": table()}
    sample = await sampled(ahead, tmp_path, {"DB": rows, "OTHER": rows}, timeout=10)
    assert sample.value == 0


async def test_lag_between_a_database_and_an_http_answer(rows: str, tmp_path: Path) -> None:
    """Neon to Convex: the newest row against what the query API says it has."""
    bodies = [
        answer({"value": {"updatedAt": (time.time() - 300) * 1000}}),
        answer({"value": {"updatedAt": (time.time() + 3600) * 1000}}),
        answer({"value": {}}),
        answer({}, 500),
    ]

    async def handler(_: bytes) -> bytes:
        return bodies.pop(0)

    async with server(handler) as port:
        probe = {
            "type": "postgres_lag",
            "source": table(),
            "target": {"url": f"http://127.0.0.1:{port}/api", "json_path": "value.updatedAt"},
        }
        samples = [await sampled(probe, tmp_path, {"DB": rows}, timeout=10) for _ in range(4)]
    assert samples[0].value == pytest.approx(180, abs=10)
    assert [s.state for s in samples[1:]] == ["no_data"] * 3
    assert "in the future" in samples[1].detail
