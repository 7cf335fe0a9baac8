"""Many processes and machines on one E2B account: one goes on where another died."""

import pytest

from harness.sandboxes.e2b.provider import E2BSandboxProvider
from tests.harness.sandboxes.e2b_bench import Bench, base_cache, bench, cloud, small_repo

__all__ = ["base_cache", "bench", "cloud", "small_repo"]

pytestmark = pytest.mark.isolation


def machine(bench: Bench, name: str) -> E2BSandboxProvider:
    """A worker with folders of its own, in the deployment of all."""
    shared = f"fleet{abs(hash(bench.folder)) % 10**9}"  # of this test alone
    return bench.provider("run-7", name, bench.folder / f"{name}-cache", deployment=shared)


async def test_a_worker_on_another_machine_goes_on_where_one_died(bench: Bench) -> None:
    dead, other = machine(bench, "one"), machine(bench, "two")
    base = await bench.base(dead)
    assert await other.list() == ()  # it is open before there is anything
    box = await dead.create(base, "f.r1-a01", labels={"attempt": "f/r1-a01"})
    await box.exec("echo half > done")
    bench.account.log.clear()
    known = await bench.base(other)
    assert (known.id, known.handle, known.fresh) == (base.id, base.handle, False)
    assert not [line for line in bench.account.log if "snapshots" in line and "POST" in line]
    again = await other.create(known, "f.r1-a01")
    assert again.reopened
    assert again.cloud_id == box.cloud_id
    assert (await again.exec("cat done")).text == "half\n"
    assert len(bench.boxes()) == 1
    assert base.id in [use.sandbox for use in bench.uses]  # looking at a base costs time too
    await again.destroy()
    fresh = await other.create(known, "f.r1-a01")
    assert not fresh.reopened
    assert bench.boxes()[0].id == fresh.cloud_id


async def test_a_worker_that_starts_takes_nothing_from_those_at_work(bench: Bench) -> None:
    first = machine(bench, "one")
    base = await bench.base(first)
    working = await first.create(base, "a")
    patched = await first.snapshot(await first.create(base, "b"))
    second = machine(bench, "two")
    assert await second.reap() == 0
    assert (await working.exec("true")).ok
    assert (await (await first.create(patched, "c")).exec("true")).ok
    assert {s.id for s in await second.list()} == {"a", "c"}
    await second.close()
    assert (await working.exec("true")).ok
