"""Skips what needs an isolated sandbox where this machine cannot have one, and says why."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.emulators.e2b import E2BServer

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
