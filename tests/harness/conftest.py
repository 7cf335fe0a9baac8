"""A repository with one commit, and a run's journal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import git
from harness.git import Repository
from harness.record.clock import SystemClock
from harness.record.journal import Journal


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "a.txt").write_text("one\n")
    return await git.create_from(seed, tmp_path / "repo")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "logs" / "run-1" / "events.jsonl", "run-1", SystemClock())
    yield made
    made.close()
