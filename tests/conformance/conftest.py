"""Every sandbox provider opened on one repository, for the tests of what all of them keep to."""

import functools
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.ports import Base, BaseSpec, Sandbox, SandboxProvider
from harness.sandboxes import provider as by_name
from harness.sandboxes.containers import ENGINES, answering
from orchestrator.errors import (
    SandboxUnavailableError,
)
from tests.engine_image import image
from tests.fakes.sandbox import FakeSandboxProvider

FILES = {
    "README": b"hello\n",
    "pkg/__init__.py": b"def one():\n    return 1\n",
    "pkg/data/raw.bin": bytes(range(256)),
    "test_pkg.py": b"import pkg\n\ndef test_one():\n    assert pkg.one() == 1\n",
    "crlf.txt": b"a\r\nb\r\n",
}


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("repo")
    for name, data in FILES.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_bytes(data)
    (repo / "run.sh").write_bytes(b"#!/bin/sh\necho ran\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("README")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.autocrlf=false"]
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *args], cwd=repo, check=True)
    # None of this may ever run: it is the user's, and the base is not the user's checkout.
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repo}/hooked\n")
    hook.chmod(0o755)
    return repo


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, new_cache: Callable[[Path], Path]) -> Path:
    return new_cache(tmp_path_factory.mktemp("cache"))


async def open_provider(
    request: pytest.FixtureRequest, tmp_path: Path, cache: Path, repo: Path
) -> Any:
    name = request.param
    if name == "e2b":
        request.getfixturevalue("e2b_cloud")
    if name in ENGINES:
        request.getfixturevalue("engine_images")(name)
    if name == "fake":
        return FakeSandboxProvider(tmp_path / "fake", FILES)
    made = by_name(name, "conformance", state=tmp_path / "state", cache=cache)
    try:
        await made.prepare(BaseSpec(repo, "HEAD"))
    except SandboxUnavailableError as error:
        if name in ENGINES:  # it answered
            raise
        pytest.skip(str(error))
    return made


@pytest.fixture(scope="session")
def engine_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """Gives an engine an image made of this machine's programs, so that no registry is needed;
    $FIBREFLOW_IMAGE names another. Skips where the engine does not answer."""
    given = os.environ.get("FIBREFLOW_IMAGE")

    @functools.cache
    def why_not(name: str) -> str:
        try:
            engine = answering(name)
        except SandboxUnavailableError as error:
            return str(error)
        if given is None:
            folder = tmp_path_factory.mktemp("image")
            os.environ["FIBREFLOW_IMAGE"] = image(engine.program, folder)
        return ""

    def supply(name: str) -> None:
        if why := why_not(name):
            pytest.skip(why)

    yield supply
    if given is None:
        os.environ.pop("FIBREFLOW_IMAGE", None)


SHELLS = [
    *(pytest.param(name, marks=pytest.mark.isolation) for name in ("local", "e2b")),
    # Each command is a container, so all of it takes minutes.
    *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES),
    "process",
]


@pytest.fixture(params=SHELLS)
async def shells(
    request: pytest.FixtureRequest, tmp_path: Path, cache: Path, repo: Path
) -> AsyncIterator[SandboxProvider]:
    made = await open_provider(request, tmp_path, cache, repo)
    yield made
    await made.close()


@pytest.fixture(params=[*SHELLS, "fake"])
async def provider(
    request: pytest.FixtureRequest, tmp_path: Path, cache: Path, repo: Path
) -> AsyncIterator[SandboxProvider]:
    made = await open_provider(request, tmp_path, cache, repo)
    yield made
    await made.close()


@pytest.fixture
async def base(provider: SandboxProvider, repo: Path) -> Base:
    return await provider.prepare(BaseSpec(repo, "HEAD"))


@pytest.fixture
async def box(shells: SandboxProvider, repo: Path) -> Sandbox:
    return await shells.create(await shells.prepare(BaseSpec(repo, "HEAD")), "feature/r1-a01")


@pytest.fixture
def grow_old(request: pytest.FixtureRequest, shells: SandboxProvider) -> Callable[[Any], None]:
    """Makes a sandbox that nobody holds, and its namespace, look as if left long ago."""

    def age(box: Any) -> None:
        if shells.name == "e2b":
            request.getfixturevalue("e2b_cloud").cloud.boxes[box.cloud_id].started = 0.0
            return
        os.utime(box.folder.parent, (0, 0))

    return age
