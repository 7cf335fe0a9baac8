"""The same projects as the tests of the spine, to be killed; alone, or spread over a fleet."""

from collections.abc import Callable, Iterator

import pytest

from tests.chaos.fleet import FleetProject
from tests.spine.conftest import cache, make
from tests.spine.project import Project

__all__ = ["cache", "make"]


@pytest.fixture
def fleet(make: Callable[..., Project], database: str) -> Iterator[FleetProject]:
    made = FleetProject(make(), database)
    try:
        yield made
    finally:
        made.end()
