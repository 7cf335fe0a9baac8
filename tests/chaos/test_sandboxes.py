"""`kill -9` of runners and of what is in their sandboxes, at random: nothing is left, counted here.

FIBREFLOW_CHAOS_SANDBOXES=200 for that many kills; 8 by default.
"""

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import harness
from harness.ports import BaseSpec, Sandbox
from harness.sandboxes import cgroup
from harness.sandboxes.guard import children_of
from harness.sandboxes.local import LocalSandboxProvider
from harness.sandboxes.watch import tree
from orchestrator.errors import SandboxUnavailableError
from tests.harness.sandboxes.conftest import first_repo, repo

__all__ = ["first_repo", "repo"]

pytestmark = pytest.mark.isolation
KILLS = int(os.environ.get("FIBREFLOW_CHAOS_SANDBOXES", "8"))
SCRIPT = Path(__file__).with_name("sandboxes_to_kill.py")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@pytest.fixture
def orphans_come_here() -> Iterator[None]:
    """Whatever the runners leave becomes this process's child, so that none can hide."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    prctl(_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
async def neighbour(
    tmp_path: Path, cache: Path, repo: Path
) -> AsyncIterator[tuple[LocalSandboxProvider, Sandbox]]:
    """Another live runner on the same folders, with a sandbox at work."""
    provider = LocalSandboxProvider("neighbour", tmp_path / "state", cache)
    try:
        box = await provider.create(await provider.prepare(BaseSpec(repo, "HEAD")), "mine")
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    yield provider, box
    await provider.close(remove=True)


@dataclass
class Killed:
    """How many processes of sandboxes, and which runners."""

    sandboxes: int = 0
    runners: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.sandboxes + len(self.runners)


class Runner:
    """One program with sandboxes, and the processes below it."""

    def __init__(self, repo: Path, state: Path, cache: Path) -> None:
        root = str(Path(harness.__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(repo), str(state), str(cache)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
        )  # fmt: skip

    async def rounds(self, count: int) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            said = await asyncio.to_thread(self.process.stdout.read, count)
        assert len(said) == count, "the runner ended by itself"

    def wait_for_orphans(self, ours: set[int]) -> None:
        """As the machine's PID 1 would: a namespace ends only when its dead were waited for."""
        for pid in set(children_of(os.getpid())) - ours - {self.process.pid}:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def below(self) -> list[int]:
        return [pid for pid in tree(self.process.pid) if pid != self.process.pid]

    async def ends(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            await asyncio.to_thread(self.process.stdout.read)
            return await asyncio.to_thread(self.process.wait)


@pytest.mark.long
async def test_nothing_is_left(  # the fixtures are its world
    orphans_come_here: None,
    neighbour: tuple[LocalSandboxProvider, Sandbox],
    repo: Path,
    tmp_path: Path,
    cache: Path,
) -> None:
    chance = random.Random(KILLS)
    provider, box = neighbour
    await box.exec("echo mine > mine")
    at_work = asyncio.ensure_future(box.exec("touch begun; exec sleep 1000", timeout=2000))
    state, killed = tmp_path / "state", Killed()
    await until((state / "neighbour" / "mine" / "upper" / "begun").exists)
    await asyncio.sleep(0.1)  # no process of its own comes or goes from here on
    mounts, ours = mounted(tmp_path, cache), set(tree(os.getpid())) | {os.getpid()}
    while killed.total < KILLS:
        runner = Runner(repo, state, cache)
        try:
            await runner.rounds(1 + chance.randrange(3))
            for _ in range(chance.randrange(5)):
                killed.sandboxes += await kill_one_inside(runner, chance)
                await runner.rounds(1)
                runner.wait_for_orphans(ours)
                await runner.rounds(2)
            await kill_or_end(runner, chance, killed)
        finally:
            runner.process.kill()
        await no_process_but(ours, at_work)
        assert mounted(tmp_path, cache) == mounts
        await provider.reap("chaos")
        left = [p for p in state.iterdir() if p.name != "neighbour"]
        assert left == [], f"after {killed}"
    assert len(killed.runners) > KILLS // 10
    cgroup.groups().remove()  # what the next start does
    assert groups_of(killed.runners) == []
    assert not at_work.done(), "another runner's sandbox was touched"
    at_work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await at_work
    assert (await box.exec("cat mine")).text == "mine\n"
    print(f"killed {killed.sandboxes} sandboxes and {len(killed.runners)} runners; nothing left")  # noqa: T201 - the figure


async def kill_one_inside(runner: Runner, chance: random.Random) -> int:
    """Kill a process of a sandbox or of the guard: bwrap, its PID 1, the command, a daemon."""
    await asyncio.sleep(chance.random() * 0.03)  # the moment itself is what is random
    below = runner.below()
    if not below:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(below), signal.SIGKILL)
        return 1
    return 0


async def kill_or_end(runner: Runner, chance: random.Random, killed: Killed) -> None:
    """Mostly kill the runner, sometimes with all that is below it, as when a session ends."""
    kind = chance.choice(("runner", "runner", "runner", "session", "end"))
    if kind == "end":
        assert await runner.ends() == 0
        return
    await runner.rounds(1)
    await asyncio.sleep(chance.random() ** 3 * 0.05)  # often within a millisecond of a start
    prey = [runner.process.pid, *(runner.below() if kind == "session" else ())]
    for pid in prey:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    killed.runners.append(runner.process.pid)
    assert await runner.ends() == -signal.SIGKILL


async def no_process_but(ours: set[int], at_work: "asyncio.Future[object]") -> None:
    """The kernel takes a moment to end a namespace; after it, none of theirs is there."""

    def gone() -> bool:
        left = set(tree(os.getpid())) - ours
        for pid in left:  # those that have ended and came here to be waited for
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return not left

    try:
        await until(gone)
    except TimeoutError:
        left = {pid: command_line(pid) for pid in set(tree(os.getpid())) - ours}
        raise AssertionError(f"left: {left}") from None
    assert not at_work.done()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    return "?"


def mounted(*folders: Path) -> list[str]:
    """Mounts over or from these folders, and those on /proc: a machine's other programs, a
    container engine for one, make theirs meanwhile."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    names = [*map(str, folders), " /proc "]
    return [line for line in table if any(name in line for name in names)]


def groups_of(runners: list[int]) -> list[Path]:
    """Control groups that they left."""
    found = Path("/sys/fs/cgroup").glob("**/fibreflow-*")
    return [p for p in found if p.name.split("-")[1] in map(str, runners)]
