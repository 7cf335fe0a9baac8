"""A real isolated sandbox to try to get out of."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.ports import Base, BaseSpec, Connection, Sandbox
from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxUnavailableError
from tests.harness.sandboxes.conftest import cache, first_repo, repo

__all__ = ["cache", "first_repo", "repo"]


@pytest.fixture
def seen() -> list[Connection]:
    """Every connection that a sandbox of the test asked for."""
    return []


@pytest.fixture
async def provider(
    tmp_path: Path, cache: Path, seen: list[Connection]
) -> AsyncIterator[LocalSandboxProvider]:
    made = LocalSandboxProvider("escape", tmp_path / "state", cache, seen.append)
    try:
        await made.workspaces()
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    yield made
    await made.close(remove=True)


@pytest.fixture
async def base(provider: LocalSandboxProvider, repo: Path) -> Base:
    return await provider.prepare(BaseSpec(repo, "HEAD"))


@pytest.fixture
async def box(provider: LocalSandboxProvider, base: Base) -> Sandbox:
    return await provider.create(base, "agent")
