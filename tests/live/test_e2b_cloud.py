"""The port's suite on E2B's real cloud; skipped unless E2B_API_KEY is set and it is asked for.

    E2B_API_KEY=e2b_... FIBREFLOW_LIVE=1 .venv/bin/python -m pytest tests/live/test_e2b_cloud.py

It builds a template, makes some hundred sandboxes one after the other and removes what it made;
by the prices in e2b.yaml that is well below a dollar. It is the same suite that the emulator
passes, but for the tests that look at this machine's processes or put a sandbox's clock back.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.ports import Base, BaseSpec, Sandbox, SandboxProvider
from harness.sandboxes import provider as by_name
from tests.conformance import test_bases, test_commands, test_every_provider, test_limits
from tests.conformance import test_lives as lives
from tests.conformance.conftest import cache, repo

__all__ = ["cache", "repo"]

pytestmark = pytest.mark.skipif(
    not (os.environ.get("E2B_API_KEY") and os.environ.get("FIBREFLOW_LIVE")),
    reason="needs an E2B account: set E2B_API_KEY and FIBREFLOW_LIVE=1",
)

_HERE_ONLY = {
    "test_an_unknown_provider_is_the_users_error",
    "test_cancelling_ends_the_command",
    "test_other_namespaces_are_reaped_only_when_dead",
}


def _suite() -> Iterator[tuple[str, Any]]:
    for module in (test_bases, test_commands, test_every_provider, test_limits, lives):
        for name, test in vars(module).items():
            if name.startswith("test_") and name not in _HERE_ONLY:
                yield name, test


globals().update(dict(_suite()))


@pytest.fixture
async def shells(tmp_path: Path, cache: Path) -> AsyncIterator[SandboxProvider]:
    made = by_name("e2b", "conformance", state=tmp_path / "state", cache=cache)
    yield made
    await made.close(remove=True)


@pytest.fixture
def provider(shells: SandboxProvider) -> SandboxProvider:
    return shells


@pytest.fixture
async def base(provider: SandboxProvider, repo: Path) -> Base:
    return await provider.prepare(BaseSpec(repo, "HEAD"))


@pytest.fixture
async def box(shells: SandboxProvider, repo: Path) -> Sandbox:
    return await shells.create(await shells.prepare(BaseSpec(repo, "HEAD")), "feature/r1-a01")
