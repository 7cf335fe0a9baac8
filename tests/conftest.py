"""Skips what needs an isolated sandbox where this machine cannot have one, and says why."""

import functools
from pathlib import Path

import pytest

#: Folders whose every test runs the program in the `local` sandbox.
ISOLATED = ("spine", "chaos", "escape")


@functools.cache
def missing_isolation() -> str:
    from harness.doctor import isolation_remedy

    return isolation_remedy()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in ISOLATED:
            item.add_marker(pytest.mark.isolation)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("isolation") and missing_isolation():
        pytest.skip(f"no isolation here: {missing_isolation()}")
