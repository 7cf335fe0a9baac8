"""The shop and its emulated GitHub."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.emulators.github import GitHubServer
from tests.harness.tickets.shop import BODY, TITLE, Shop


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        server.issue(7, TITLE, BODY, "eve")
        yield server


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, new_cache: Callable[[Path], Path]) -> Path:
    return new_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def shop(tmp_path: Path, github: GitHubServer, cache: Path) -> Shop:
    return Shop(tmp_path, github, cache)
