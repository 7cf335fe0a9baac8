"""What the local provider does beyond the port: death of the runner, locks, forced copies."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import harness
from harness.ports import Base, BaseSpec, SandboxLimits
from harness.sandboxes.local import LocalSandboxProvider
from harness.sandboxes.watch import tree
from orchestrator.errors import SandboxError, SandboxUnavailableError
from tests.conformance.looking import alive, until

pytestmark = pytest.mark.isolation
SCRIPT = Path(__file__).with_name("runner_to_kill.py")


@pytest.fixture
async def provider(tmp_path: Path, cache: Path) -> AsyncIterator[LocalSandboxProvider]:
    made = LocalSandboxProvider("killed", tmp_path / "state", cache)
    try:
        await made.workspaces()
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    yield made
    await made.close(remove=True)


@pytest.fixture
async def base(provider: LocalSandboxProvider, repo: Path) -> Base:
    return await provider.prepare(BaseSpec(repo, "HEAD"))


@pytest.mark.long
async def test_nothing_outlives_a_killed_runner(
    provider: LocalSandboxProvider, base: Base, repo: Path, tmp_path: Path, cache: Path
) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    root = Path(harness.__file__).parent.parent
    runner = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(repo), str(tmp_path / "state"), str(cache), marker],
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        # The runner itself and, in each of four sandboxes, bwrap and three shells at least.
        await until(lambda: len(alive(marker)) >= 1 + 4 * 4 or runner.poll() is not None)
        assert runner.poll() is None
        with pytest.raises(SandboxError, match="in use"):
            await provider.create(base, "k0")
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    await until(lambda: not alive(marker))
    again = await provider.create(base, "k0")
    assert (await again.exec("cat kept")).text == "kept\n"


async def test_a_dead_guard_is_replaced(provider: LocalSandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    running = asyncio.ensure_future(box.exec("touch begun; sleep 600", timeout=60))
    begun = (await provider.workspaces()) / "a" / "upper" / "begun"
    await until(begun.exists)
    provider.guard.release()
    with pytest.raises(SandboxError):
        await running
    assert not provider.guard.alive
    assert (await box.exec("ls begun")).text == "begun\n"
    assert provider.guard.alive


async def test_neither_process_nor_zombie_stays_behind(
    provider: LocalSandboxProvider, base: Base
) -> None:
    box = await provider.create(base, "a")
    assert (await box.exec("true")).ok
    before = tree(provider.guard.pid)
    for _ in range(20):
        assert (await box.exec("(sleep 600 &) ; setsid -f sleep 600")).ok
    # At once: a command has ended when all of it is gone.
    assert tree(provider.guard.pid) == before


async def test_another_base_cannot_reopen_a_workspace(
    provider: LocalSandboxProvider, base: Base, repo: Path
) -> None:
    box = await provider.create(base, "a")
    box.release()
    other = await provider.prepare(BaseSpec(repo, "HEAD", env={"A": "1"}))
    with pytest.raises(SandboxError, match="another base"):
        await provider.create(other, "a")


async def test_a_workspace_ends_with_the_machine(
    provider: LocalSandboxProvider, base: Base
) -> None:
    box = await provider.create(base, "a")
    await box.exec("echo made > made")
    box.release()
    record = box.folder / "workspace.json"
    known = json.loads(record.read_text())
    record.write_text(json.dumps({**known, "boot": "an earlier one"}))
    again = await provider.create(base, "a")
    assert not again.reopened
    assert (await again.exec("ls; git status --porcelain")).text == "file\n"


async def test_a_command_is_not_blamed_for_the_one_before(
    provider: LocalSandboxProvider, base: Base
) -> None:
    limits = SandboxLimits(memory_mb=100, cpu_seconds=600)
    fat = "python3 -c \"x = b'x' * (300 << 20); import time; time.sleep(600)\""
    result = await (await provider.create(base, "fat", limits=limits)).exec(fat, timeout=60)
    assert b"over 100 MB of memory" in result.err
    # The same slot, where the group of processes outlived it.
    assert (await (await provider.create(base, "thin", limits=limits)).exec("true")).ok


async def test_many_arguments(provider: LocalSandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    words = [f"é{n}" for n in range(50_000)]
    result = await box.exec(["sh", "-c", 'echo "$# $1"; ls /proc/self/fd | wc -l; exit 7', *words])
    assert (result.exit, result.text) == (7, "49999 é1\n4\n")
    for nothing, code in (("/nonesuch", 127), ("x" * 200_000, 126), ("a\0b", 126)):
        result = await box.exec([nothing, *words])
        assert (result.exit, result.out) == (code, b"")
        assert b"cannot start the command" in result.err


async def test_what_cannot_be_started_says_so(provider: LocalSandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    for argv in (["printf", "a\0b"], ["true", "x" * 200_000]):
        result = await box.exec(argv)
        assert (result.exit, result.out) == (126, b"")
        assert b"cannot start the command" in result.err
    assert (await box.exec("true")).ok


async def test_index_is_fresh_inside(provider: LocalSandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    # Only a stale entry makes diff-files, which does not look at content, print anything.
    assert (await box.exec("git diff-files")).text == ""


async def test_a_damaged_base_is_made_again(
    provider: LocalSandboxProvider, base: Base, repo: Path, cache: Path
) -> None:
    (base.folder.parent / "base.json").unlink()
    again = await provider.prepare(BaseSpec(repo, "HEAD"))
    assert again.id == base.id
    assert (again.folder.parent / "base.json").exists()
    assert list((cache / "bases").glob(".making-*")) == []


@pytest.mark.long
async def test_what_was_changed_in_the_cache_is_not_used_by_another_run(
    provider: LocalSandboxProvider, repo: Path, tmp_path: Path, cache: Path
) -> None:
    spec = BaseSpec(repo, "HEAD", "echo made > made")
    first = await provider.prepare(spec)
    layers = first.handle
    for changed in (layers.trees[1] / "file", layers.trees[0] / "made", layers.git / "HEAD"):
        before = changed.stat()
        text = changed.read_text()
        changed.write_text(text.upper())  # the same size, and with the same times
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
        other = LocalSandboxProvider("other", tmp_path / "state", cache)
        try:
            again = await other.prepare(spec)
            assert (again.id, again.fresh) == (first.id, True)
            assert (await other.prepare(spec)).fresh is False
        finally:
            await other.close(remove=True)
        assert changed.read_text() == text


@pytest.mark.long
async def test_two_runners_prepare_one_base(tmp_path: Path, cache: Path, repo: Path) -> None:
    two = [LocalSandboxProvider(f"n{n}", tmp_path / "state", cache) for n in range(2)]
    try:
        spec = BaseSpec(repo, "HEAD", "echo $RANDOM$RANDOM > made")
        first, second = await asyncio.gather(*(p.prepare(spec) for p in two))
        assert first.id == second.id
        boxes = [await p.create(first, "a") for p in two]
        assert await boxes[0].download("made") == await boxes[1].download("made")
    finally:
        for p in two:
            await p.close(remove=True)
    assert not any((tmp_path / "state").iterdir())


@pytest.mark.long
async def test_workspaces_as_copies(
    tmp_path: Path, new_cache: Callable[[Path], Path], repo: Path
) -> None:
    cache = new_cache(tmp_path / "cache")
    copies = LocalSandboxProvider("copies", tmp_path / "state", cache, overlay=False)
    try:
        base = await copies.prepare(BaseSpec(repo, "HEAD", "mkdir made && echo 1 > made/one"))
        assert any("copies" in note for note in copies.capabilities.notes)
        box = await copies.create(base, "a")
        rename = "import os; os.rename('made', 'moved'); os.remove('file'); os.mkfifo('pipe')"
        assert (await box.exec(["python", "-c", rename])).ok
        fork = await copies.create(await copies.snapshot(box), "b")
        assert (await fork.exec("ls; cat moved/one")).text == "moved\npipe\n1\n"
        fresh = await copies.create(base, "c")
        assert (await fresh.exec("ls; git status --porcelain")).text == "file\nmade\n"
    finally:
        await copies.close(remove=True)


RENAMES = "python -c \"import os; os.mkdir('own'); os.rename('sub', 'moved')\""


@pytest.fixture
def folded(repo: Path) -> Path:
    (repo / "sub").mkdir()
    (repo / "sub" / "in").write_text("in\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for args in (["add", "-A"], ["commit", "-q", "-m", "two"]):
        subprocess.run([*git, *args], cwd=repo, check=True)
    return repo


@pytest.mark.long
async def test_a_setup_that_renames_folders_gets_copies(
    provider: LocalSandboxProvider, folded: Path
) -> None:
    base = await provider.prepare(BaseSpec(folded, "HEAD", RENAMES))
    assert (base.workspaces, base.fresh) == ("copy", True)
    again = await provider.prepare(BaseSpec(folded, "HEAD", RENAMES))
    assert (again.workspaces, again.fresh) == ("copy", False)
    box = await provider.create(base, "a")
    assert (await box.exec("ls -d own moved sub")).text == "moved\nown\nsub\n"
    assert (await box.exec(["python", "-c", "import os; os.rename('sub', 'there')"])).ok
    fork = await provider.create(await provider.snapshot(box), "b")
    assert (await fork.exec("cat there/in; mv there back && cat back/in")).text == "in\nin\n"
    # The commit's own files come from the commit, not from the copy that setup ran in.
    (folded / "file").unlink()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "commit", "-qam", "3"], cwd=folded, check=True)
    later = await provider.create(await provider.prepare(BaseSpec(folded, "HEAD", RENAMES)), "c")
    assert (await later.exec("ls; git status --porcelain")).text == "moved\nown\nsub\n"


async def test_copies_may_be_asked_for_and_stay(
    provider: LocalSandboxProvider, folded: Path
) -> None:
    overlay = await provider.prepare(BaseSpec(folded, "HEAD"))
    assert overlay.workspaces == "overlay"
    copied = await provider.prepare(BaseSpec(folded, "HEAD", workspaces="copy"))
    assert (copied.id, copied.workspaces) == (overlay.id, "copy")
    rename = ["python", "-c", "import os; os.rename('sub', 'moved')"]
    for base, works in ((overlay, False), (copied, True)):
        box = await provider.create(base, base.workspaces)
        assert (await box.exec(rename)).ok is works
        box.release()
    reopened = await provider.create(overlay, "copy")
    assert (await reopened.exec("ls moved")).text == "in\n"
