"""What the tests of the `e2b` provider work with: an account that misbehaves, and one base."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.ports import Base, BaseSpec, SandboxUse
from harness.sandboxes.e2b.provider import E2BSandboxProvider
from harness.sandboxes.e2b.settings import E2BSettings, read_settings
from tests.emulators.e2b import E2BServer
from tests.emulators.e2b_account import Account, Box


@pytest.fixture(scope="session")
def small_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("small")
    (repo / "README").write_text("hello\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *args], cwd=repo, check=True)
    return repo


@pytest.fixture(scope="session")
def base_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of all tests on the shared account, so that its bases are made once."""
    return tmp_path_factory.mktemp("bases")


@pytest.fixture
def cloud(e2b_cloud: E2BServer) -> Iterator[Account]:
    """The account, which works well again after the test."""
    account = e2b_cloud.cloud
    account.log.clear()
    yield account
    account.faults.clear()
    account.most, account.rows, account.filters = None, 100, True


class Bench:
    """Providers on one account, in one deployment unless another is asked for."""

    def __init__(
        self, server: E2BServer, folder: Path, repo: Path, cache: Path | None = None
    ) -> None:
        self.account = server.cloud
        self.cache = cache or folder / "cache"
        self.folder = folder
        self.repo = repo
        self.settings: E2BSettings = replace(
            read_settings(server.environment),
            patience_seconds=1.0,
            request_seconds=20.0,
            reconnect_seconds=0.02,
        )
        self.uses: list[SandboxUse] = []
        self.providers: list[E2BSandboxProvider] = []

    def provider(
        self,
        namespace: str = "run-1",
        state: str = "ours",
        cache: Path | None = None,
        **settings: Any,
    ) -> E2BSandboxProvider:
        """`state`: each folder is a deployment, unless the settings name one."""
        made = E2BSandboxProvider(
            namespace,
            self.folder / state,
            cache or self.cache,
            settings=replace(self.settings, **settings),
        )
        made.on_use = self.uses.append
        self.providers.append(made)
        return made

    async def base(self, provider: E2BSandboxProvider) -> Base:
        return await provider.prepare(BaseSpec(self.repo, "HEAD"))

    def boxes(self, key: str | None = None) -> list[Box]:
        """What is there of the test's sandboxes, running or paused."""
        deployments = {p.read_text() for p in self.folder.glob("*/e2b/deployment")}
        deployments |= {p.settings.deployment for p in self.providers}
        found = []
        for box in self.account.boxes.values():
            labels = box.body.get("metadata") or {}
            ours = labels.get("fibreflow_deployment") in deployments and box.state != "killed"
            if ours and key in (None, labels.get("fibreflow_key")):
                found.append(box)
        return found


@pytest.fixture
async def bench(
    cloud: Account, e2b_cloud: E2BServer, tmp_path: Path, small_repo: Path, base_cache: Path
) -> AsyncIterator[Bench]:
    made = Bench(e2b_cloud, tmp_path, small_repo, base_cache)
    yield made
    cloud.faults.clear()
    cloud.most = None
    for provider in made.providers:
        await provider.close(remove=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
