"""The engine's store on Postgres, while nobody answers there."""

from pathlib import Path

import pytest
import sqlalchemy

from harness import engine_store


@pytest.mark.parametrize("host", ["socket", "127.0.0.1"])
def test_a_database_that_is_away_is_told_from_one_that_refuses(host: str, tmp_path: Path) -> None:
    """The durable engine waits for the first; anything else ends the run."""
    where = f"///x?host={tmp_path}" if host == "socket" else f"//u@{host}:1/x"
    store = engine_store.open_store(f"postgresql:{where}")
    with pytest.raises(sqlalchemy.exc.OperationalError) as found, store.connect():
        pass
    assert found.value.connection_invalidated
