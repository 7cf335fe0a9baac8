"""What the `e2b` provider keeps account of: names, labels, other people's things, places, cost."""

import asyncio
import subprocess

import pytest

from harness.ports import BaseSpec
from harness.sandboxes.e2b.cloud import Pace
from orchestrator.errors import SandboxError
from tests.fakes.clock import VirtualClock
from tests.harness.sandboxes.e2b_bench import Bench, base_cache, bench, cloud, small_repo, until

__all__ = ["base_cache", "bench", "cloud", "small_repo"]

pytestmark = pytest.mark.isolation


@pytest.mark.slow
async def test_labels_say_whose_it_is(bench: Bench) -> None:
    provider = bench.provider("run-7")
    await provider.create(await bench.base(provider), "f.r1-a01", labels={"attempt": "f/r1-a01"})
    (found,) = bench.boxes()
    labels = found.body["metadata"]
    assert labels["fibreflow_namespace"] == "run-7"
    assert labels["fibreflow_key"] == "f.r1-a01"
    assert labels["fibreflow_label_attempt"] == "f/r1-a01"
    assert len(labels["fibreflow_deployment"]) == 10
    assert found.body["autoPause"] is True  # so that a crash costs no money and loses no work


@pytest.mark.long
async def test_others_of_the_same_account_are_left_alone(bench: Bench) -> None:
    ours, theirs = bench.provider(state="ours"), bench.provider(state="theirs")
    base = await bench.base(ours)
    box = await theirs.create(base, "a")
    patched = await theirs.snapshot(await theirs.create(base, "b"))
    for box_ in bench.boxes():
        box_.started = 0.0
    assert await ours.list() == ()
    assert await ours.reap() == 0
    assert await ours.reap("run-1") == 0
    assert (await box.exec("true")).ok
    assert (await (await theirs.create(patched, "c")).exec("true")).ok


async def test_a_list_with_others_in_it_harms_nobody(bench: Bench) -> None:
    ours, theirs = bench.provider(state="ours"), bench.provider(state="theirs")
    box = await theirs.create(await bench.base(theirs), "a")
    bench.account.filters = False
    made = await ours.create(await bench.base(ours), "a")
    assert not made.reopened
    assert {s.id for s in await ours.list()} == {"a"}
    await ours.close(remove=True)
    assert (await box.exec("true")).ok


@pytest.mark.slow
async def test_one_template_for_all_commits_with_the_same_locks(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repo = tmp_path_factory.mktemp("locked")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=repo, check=True)
    provider = bench.provider()
    bases, built = [], []
    for requirements, text in (("a", "1"), ("a", "2"), ("b", "2")):
        (repo / "requirements.txt").write_text(requirements)
        (repo / "code.py").write_text(text)
        subprocess.run([*git, "add", "-A"], cwd=repo, check=True)
        subprocess.run([*git, "commit", "-qm", text], cwd=repo, check=True)
        setup = "cat requirements.txt > installed; echo x >> $HOME/times"
        bases.append(await provider.prepare(BaseSpec(repo, "HEAD", setup)))
        built.append(bench.account.log.count("POST /v3/templates"))
        box = await provider.create(bases[-1], f"k{len(built)}")
        assert (await box.exec("cat installed code.py $HOME/times")).text == (
            f"{requirements}{text}x\n"
        )
    assert built == [1, 1, 2]
    assert len({b.id for b in bases}) == 3
    assert [b.fresh for b in bases] == [True, True, True]
    assert not (await provider.prepare(BaseSpec(repo, "HEAD", setup))).fresh


@pytest.mark.long
async def test_setup_cannot_change_the_tools_that_verify(bench: Bench) -> None:
    provider = bench.provider()
    setup = (
        'echo "raise SystemExit(0)" > "$VIRTUAL_ENV"/lib/python3*/site-packages/pytest/__init__.py'
    )
    base = await provider.prepare(BaseSpec(bench.repo, "HEAD", setup))
    box = await provider.create(base, "a")
    assert (await box.exec("python -m pytest --version")).text.startswith("pytest ")


@pytest.mark.long
async def test_no_token_is_inside(bench: Bench) -> None:
    provider = bench.provider()
    box = await provider.create(await bench.base(provider), "a")
    key = bench.settings.account["api_key"]
    seen = await box.exec("env; cat /proc/*/environ; grep -ra e2b_ /opt/fibreflow /home /tmp; :")
    assert key.encode() not in seen.out + seen.err
    machine = bench.boxes("a")[0].machine
    assert machine is not None
    status, out, _ = await machine.seen(["grep", "-rla", key, "/opt", "/home", "/tmp", "/root"])
    assert (status, out) == (1, b"")


async def test_no_more_at_once_than_the_plan_allows(bench: Bench) -> None:
    provider = bench.provider(concurrent=2)
    base = await bench.base(provider)
    first, _ = await provider.fork(base, ["a", "b"])
    third = asyncio.ensure_future(provider.create(base, "c"))
    await asyncio.sleep(0)
    assert len(bench.boxes()) == 2
    await first.destroy()
    assert (await (await third).exec("true")).ok


async def test_no_faster_than_the_plan_allows() -> None:
    clock, times = VirtualClock(start=1000.0), []
    pace = Pace(4.0, clock)

    async def create() -> None:
        await pace.turn()
        times.append(clock.monotonic())

    async def all_at_once() -> None:
        await asyncio.gather(*(create() for _ in range(5)))
        await clock.sleep(10.0)  # what was not used is not made up for
        await asyncio.gather(*(create() for _ in range(2)))

    await clock.run(all_at_once())
    assert times == [1000.0, 1000.25, 1000.5, 1000.75, 1001.0, 1011.0, 1011.25]


async def test_a_snapshot_goes_with_its_sandbox_and_costs_no_place(bench: Bench) -> None:
    provider = bench.provider(concurrent=1)
    base = await bench.base(provider)
    box = await provider.create(base, "a")
    patched = await provider.snapshot(box)
    fork = await provider.create(patched, "b")  # there is a place: the first does not run
    snapshot = bench.account.disk(patched.handle.snapshot)
    assert snapshot.is_dir()
    await fork.destroy()
    await box.destroy()
    assert not snapshot.exists()
    with pytest.raises(SandboxError, match="not found"):
        await provider.create(patched, "c")


async def test_snapshots_of_a_crash_are_reaped(bench: Bench) -> None:
    killed = bench.provider()
    patched = await killed.snapshot(await killed.create(await bench.base(killed), "a"))
    snapshot = bench.account.disk(patched.handle.snapshot)
    await bench.provider("run-2").reap()
    assert snapshot.is_dir()
    await bench.provider().reap()  # another worker of the run, perhaps
    assert snapshot.is_dir()
    await bench.provider("run-2").reap("run-1")
    assert not snapshot.exists()


async def test_lists_of_many_pages_are_read_to_their_end(bench: Bench) -> None:
    provider = bench.provider()
    base = await bench.base(provider)
    await provider.fork(base, ["a", "b", "c"])
    patched = await provider.snapshot(await provider.create(base, "d"))
    bench.account.rows = 1
    assert {s.id for s in await provider.list()} == {"a", "b", "c"}
    assert (await bench.base(bench.provider("run-2"))).handle == base.handle
    await provider.close(remove=True)
    assert bench.boxes() == []
    assert not bench.account.disk(patched.handle.snapshot).exists()


async def test_every_stretch_is_accounted_for(bench: Bench) -> None:
    provider = bench.provider()
    base = await bench.base(provider)
    one, _ = await provider.fork(base, ["one", "two"])
    await one.exec("true")
    await one.destroy()
    await provider.close()  # pauses the other
    again = await bench.provider().create(base, "two")
    await again.destroy()
    bases = [use for use in bench.uses if use.sandbox == base.id]
    assert len(bases) == base.fresh  # what making it took, where this test was the first
    assert [u.sandbox for u in bench.uses if u not in bases] == ["one", "two", "two"]
    for use in bench.uses:
        assert use.seconds > 0
        assert use.cost_usd == pytest.approx(bench.settings.cost_usd(use.seconds))


async def test_a_paused_sandbox_holds_no_place(bench: Bench) -> None:
    provider = bench.provider()
    base = await bench.base(provider)
    await provider.create(base, "a")
    await provider.close()
    await until(lambda: bench.boxes("a")[0].state == "paused")
    assert [(s.id, s.live) for s in await bench.provider("run-2").list()] == [("a", False)]
