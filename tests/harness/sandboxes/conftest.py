"""A repository and a cache for the tests of the local provider."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def first_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("first") / "repo"
    repo.mkdir()
    (repo / "file").write_text("base\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for args in (["init", "-q", "--template="], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *args], cwd=repo, check=True)
    return repo


@pytest.fixture
def repo(tmp_path: Path, first_repo: Path) -> Path:
    """Its first commit is the same in all tests, so its base is made once."""
    return shutil.copytree(first_repo, tmp_path / "repo")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, new_cache: Callable[[Path], Path]) -> Path:
    return new_cache(tmp_path_factory.mktemp("cache"))
