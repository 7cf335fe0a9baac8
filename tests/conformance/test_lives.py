"""How sandboxes come, stay, are found again, and go, beyond one process."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.ports import BaseSpec, Sandbox, SandboxLimits, SandboxProvider
from harness.sandboxes import provider as by_name
from orchestrator.errors import (
    InputError,
    SandboxGoneError,
)


async def test_reopened_by_key_as_it_was(
    shells: SandboxProvider, repo: Path, tmp_path: Path, cache: Path
) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "feature/r1-a01")
    await box.exec("echo half > done; rm README; echo h > $HOME/h")
    await shells.close()
    later = by_name(shells.name, "conformance", state=tmp_path / "state", cache=cache)
    try:
        base = await later.prepare(BaseSpec(repo, "HEAD"))
        assert await later.reap() == 0
        again = await later.create(base, "feature/r1-a01")
        assert (await again.exec("cat done $HOME/h; ls README")).out == b"half\nh\n"
        await again.destroy()
    finally:
        await later.close()


async def test_other_namespaces_are_reaped_only_when_dead(
    shells: SandboxProvider,
    repo: Path,
    tmp_path: Path,
    cache: Path,
    grow_old: Callable[[Sandbox], None],
) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "a")
    other = by_name(shells.name, "another run", state=tmp_path / "state", cache=cache)
    try:
        assert await other.reap() == 0
        assert (await box.exec("true")).ok
        await shells.close()
        assert await other.reap() == 0  # a run that was stopped may be resumed
        grow_old(box)
        assert await other.reap() == 1
        assert await other.reap() == 0
    finally:
        await other.close()


async def test_fifteen_at_once(shells: SandboxProvider, repo: Path) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    boxes = await asyncio.gather(*(shells.create(base, f"k{n}") for n in range(15)))
    results = await asyncio.gather(*(b.exec(f"echo {b.id} > id; cat id") for b in boxes))
    assert [r.text for r in results] == [f"{b.id}\n" for b in boxes]
    await asyncio.gather(*(b.destroy() for b in boxes))


def test_an_unknown_provider_is_the_users_error() -> None:
    with pytest.raises(InputError, match="local, process"):
        by_name("nonesuch", "run")


async def test_found_again_after_its_process(
    shells: SandboxProvider, repo: Path, tmp_path: Path, cache: Path
) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    limits = SandboxLimits(file_mb=1)
    for key in ("a", "b"):
        box = await shells.create(base, key, labels={"run": "7"}, limits=limits)
        await box.exec(f"echo {key} > mine")
    await shells.close()
    later = by_name(shells.name, "conformance", state=tmp_path / "state", cache=cache)
    try:
        assert [(s.id, s.live) for s in await later.list({"run": "7"})] == [
            ("a", False),
            ("b", False),
        ]
        again = await later.connect("a")
        assert again.reopened
        assert (await again.exec("cat mine; head -c 3000000 /dev/zero > big")).out == b"a\n"
        assert (await again.exec("stat -c %s big")).text == f"{1 << 20}\n"
        assert await later.reap("conformance") == 1  # not the one that is open
        assert [(s.id, s.live) for s in await later.list()] == [("a", True)]
        with pytest.raises(SandboxGoneError):
            await later.connect("b")
    finally:
        await later.close(remove=True)


async def test_a_namespace_is_reaped_by_name_unless_it_is_alive(
    shells: SandboxProvider, repo: Path, tmp_path: Path, cache: Path
) -> None:
    await shells.create(await shells.prepare(BaseSpec(repo, "HEAD")), "a")
    other = by_name(shells.name, "another run", state=tmp_path / "state", cache=cache)
    try:
        assert await other.reap("conformance") == 0
        assert len(await shells.list()) == 1
        await shells.close()
        assert await other.reap("conformance") == 1
        assert await other.list() == ()
    finally:
        await other.close()
