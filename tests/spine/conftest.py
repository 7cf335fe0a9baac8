"""A project for each test; bases and the toolbox are made once for all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.spine.project import Project


@pytest.fixture(scope="session")
def cache(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, new_cache: Callable[[Path], Path]
) -> Path:
    """Shared by the workers of one test run, as runs of one user share theirs."""
    base = tmp_path_factory.getbasetemp()
    return new_cache((base if worker_id == "master" else base.parent) / "spine-cache")


@pytest.fixture
def make(tmp_path: Path, cache: Path) -> Callable[..., Project]:
    def project(name: str = "project", **more: Any) -> Project:
        return Project(tmp_path / name, cache, **more)

    return project


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    return make()
