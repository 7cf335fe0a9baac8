"""The patch that leaves a sandbox: all that the attempt changed, and nothing it may not carry."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from harness import patches
from harness.git import Repository, create_from
from harness.ports import Base, BaseSpec, Sandbox
from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxUnavailableError

pytestmark = pytest.mark.isolation


@pytest.fixture
async def opened(
    tmp_path: Path, new_cache: Callable[[Path], Path]
) -> AsyncIterator[tuple[Sandbox, Base, Repository]]:
    seed = tmp_path / "seed"
    (seed / "shop").mkdir(parents=True)
    (seed / "shop" / "total.py").write_text("def total():\n    return 0\n")
    (seed / "old.txt").write_text("old\n")
    repository = await create_from(seed, tmp_path / "repo")
    cache = new_cache(tmp_path / "cache")
    provider = LocalSandboxProvider("patches", tmp_path / "state", cache)
    commit = await repository.commit_of("main")
    assert commit is not None
    try:
        base = await provider.prepare(BaseSpec(repo=repository.path, commit=commit))
        yield await provider.create(base, "one"), base, repository
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    finally:
        await provider.close(remove=True)


@pytest.mark.long
async def test_changes_additions_and_removals(opened: tuple[Sandbox, Base, Repository]) -> None:
    sandbox, base, repository = opened
    await sandbox.exec("echo 'x = 1' >> shop/total.py; rm old.txt; printf 'a\\0b' > new.bin")
    patch = await patches.export(sandbox, base)
    tree = await repository.tree_with(base.commit, patch)
    names = (await repository.git("ls-tree", "-r", "--name-only", tree)).split()
    assert names == ["new.bin", "shop/total.py"]


@pytest.mark.long
async def test_nothing_changed(opened: tuple[Sandbox, Base, Repository]) -> None:
    sandbox, base, _ = opened
    assert await patches.export(sandbox, base) == b""


@pytest.mark.long
async def test_commits_and_configuration_of_the_agent_do_not_matter(
    opened: tuple[Sandbox, Base, Repository],
) -> None:
    sandbox, base, _ = opened
    await sandbox.exec(
        "echo 'x = 1' >> shop/total.py; git config diff.external /bin/true; git commit -qam mine; "
        "echo 'echo hooked > /tmp/hooked' > .git/hooks/post-index-change; rm -rf .git/objects"
    )
    assert b"+x = 1" in await patches.export(sandbox, base)


@pytest.mark.long
async def test_compiled_python_is_left_out_whatever_the_ignore_file_says(
    opened: tuple[Sandbox, Base, Repository],
) -> None:
    sandbox, base, _ = opened
    await sandbox.exec(
        "mkdir -p shop/__pycache__; echo x > shop/__pycache__/total.cpython-311.pyc; "
        "echo x > shop/total.pyc; printf '!*.pyc\\n!__pycache__/\\n' > .gitignore"
    )
    patch = await patches.export(sandbox, base)
    assert b"diff --git a/.gitignore" in patch
    assert b"pyc" not in patch.replace(b"!*.pyc", b"").replace(b"!__pycache__/", b"")
