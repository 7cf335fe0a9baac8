#!/usr/bin/env python3
"""What opening a workspace costs: `local` sandboxes beside bare bwrap and copies by git and cp.

    python benchmarks/sandbox.py [--files 5000] [--rounds 20] [--json]

All in one run and in turns, so that whatever else the machine does hits every one alike. Each
figure of `first` is from nothing to the end of a first command (`true`), in milliseconds; `next`
is a command after it. `--json` prints one object, last.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # from a fresh checkout, not installed

from measuring import machine  # noqa: E402

from harness.ports import Base, BaseSpec, Sandbox  # noqa: E402
from harness.sandboxes.guard import children_of  # noqa: E402
from harness.sandboxes.local import LocalSandboxProvider  # noqa: E402
from harness.sandboxes.opening import bwrap  # noqa: E402
from harness.sandboxes.watch import memory_mb, tree  # noqa: E402

_GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost")
_AT_ONCE = 15
_IDLE = 100
_SLOW_ROUNDS = 3  # of what takes seconds


def repository(folder: Path, files: int) -> Path:
    """`files` files of 2 kB, 50 to a folder, in one commit."""
    repo = folder / "repo"
    for number in range(files):
        file = repo / f"pkg{number // 50:03d}" / f"mod{number:05d}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {number}\n" + "x = 1  # some text\n" * 105, encoding="utf-8")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*_GIT, *words], cwd=repo, check=True)
    return repo


def run(*argv: str, cwd: Path | None = None) -> None:
    subprocess.run(argv, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


class Bench:
    """One provider, one base, and the figures: name -> milliseconds of each round."""

    def __init__(self, provider: LocalSandboxProvider, base: Base, repo: Path, folder: Path):
        self.provider, self.base, self.repo, self.folder = provider, base, repo, folder
        self.times: dict[str, list[float]] = {}

    def note(self, name: str, milliseconds: float) -> None:
        self.times.setdefault(name, []).append(milliseconds)

    async def quick_round(self, number: int) -> None:
        """Bare bwrap, then a sandbox: created, first command, next command, destroyed."""
        bare = [bwrap(), "--unshare-all", "--ro-bind", "/", "/", "true"]
        self.note("bwrap", timed(lambda: run(*bare)))
        began = time.perf_counter()
        box = await self.provider.create(self.base, f"r{number}")
        await ok(box)
        self.note("local", (time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        await ok(box)
        self.note("next", (time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        await box.destroy()
        self.note("destroy", (time.perf_counter() - began) * 1000)

    def slow_round(self, number: int) -> None:
        """What copies the tree, each with its own `true` in it."""
        target = self.folder / f"copy{number}"
        ways = {
            "worktree": ["git", "worktree", "add", "-q", "--detach", str(target)],
            "clone": ["git", "clone", "-q", "--local", str(self.repo), str(target)],
            "copy": ["cp", "-a", str(self.repo), str(target)],
        }
        for name, argv in ways.items():

            def make(argv: list[str] = argv) -> None:
                run(*argv, cwd=self.repo)
                run("true", cwd=target)

            self.note(name, timed(make))
            shutil.rmtree(target)
            run("git", "worktree", "prune", cwd=self.repo)
        os.sync()  # what they have yet to write would be booked to whoever comes next

    async def at_once(self) -> float:
        """Milliseconds until 15 new sandboxes have all run their first command."""
        began = time.perf_counter()
        boxes = await self.provider.fork(self.base, [f"o{n}" for n in range(_AT_ONCE)])
        await asyncio.gather(*(ok(box) for box in boxes))
        took = (time.perf_counter() - began) * 1000
        await asyncio.gather(*(box.destroy() for box in boxes))
        return took

    async def idle(self) -> float:
        """MB of each of 100 sandboxes in which a Python program waits; shared pages shared."""
        boxes = await self.provider.fork(self.base, [f"i{n}" for n in range(_IDLE)])
        ready = asyncio.Semaphore(0)
        wait = [
            "/usr/bin/env",
            "python3",
            "-c",
            "import time; print(1, flush=True); time.sleep(600)",
        ]
        running = [
            asyncio.ensure_future(box.exec(wait, timeout=600, on_output=lambda _: ready.release()))
            for box in boxes
        ]
        async with asyncio.timeout(300):
            for _ in boxes:
                await ready.acquire()
        guard = self.provider.guard.pid
        ours = {os.getpid(), guard, *children_of(guard)}
        used = memory_mb(set(tree(os.getpid())) - ours, exact=True)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(box.destroy() for box in boxes))
        return used / _IDLE


async def ok(box: Sandbox) -> None:
    result = await box.exec(["true"])
    if not result.ok:
        raise SystemExit(f"a sandbox failed: {result.err.decode(errors='replace')}")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def measure(files: int, rounds: int, folder: Path) -> dict[str, object]:
    repo = repository(folder, files)
    provider = LocalSandboxProvider(f"bench-{os.getpid()}", folder / "state", folder / "cache")
    try:
        base = await provider.prepare(BaseSpec(repo, "HEAD"))
        bench = Bench(provider, base, repo, folder)
        await bench.quick_round(0)
        bench.times.clear()  # the guard was started in that one
        for number in range(rounds):
            await bench.quick_round(number)
            if number < _SLOW_ROUNDS:
                bench.slow_round(number)
        at_once = await bench.at_once()
        idle = await bench.idle()
        limits = dict(provider.capabilities.limits)
    finally:
        await provider.close(remove=True)
    found: dict[str, object] = {"files": files, "rounds": rounds}
    for name, values in bench.times.items():
        found[f"{name}_p50_ms"] = round(percentile(values, 0.5), 2)
        found[f"{name}_p95_ms"] = round(percentile(values, 0.95), 2)
    p50 = {name: percentile(values, 0.5) for name, values in bench.times.items()}
    return found | {
        "local_to_bwrap": round(p50["local"] / p50["bwrap"], 2),
        "next_to_bwrap": round(p50["next"] / p50["bwrap"], 2),
        "worktree_to_local": round(p50["worktree"] / p50["local"], 1),
        "at_once_15_ms": round(at_once, 1),
        "idle_100_mb_each": round(idle, 2),
        "limits": limits,
        "machine": machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="one JSON object, last")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fibreflow-bench-") as folder:
        found = asyncio.run(measure(args.files, max(args.rounds, 1), Path(folder)))
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:20} {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
