"""A real isolated sandbox to try to get out of."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.ports import Base, BaseSpec, Sandbox
from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxUnavailableError


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
async def provider(tmp_path: Path, cache: Path) -> AsyncIterator[LocalSandboxProvider]:
    made = LocalSandboxProvider("escape", tmp_path / "state", cache)
    try:
        await made.workspaces()
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    yield made
    await made.close(remove=True)


@pytest.fixture
async def base(provider: LocalSandboxProvider, tmp_path: Path) -> Base:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "file").write_text("base\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *args], cwd=repo, check=True)
    return await provider.prepare(BaseSpec(repo, "HEAD"))


@pytest.fixture
async def box(provider: LocalSandboxProvider, base: Base) -> Sandbox:
    return await provider.create(base, "agent")
