#!/usr/bin/env python3
"""What a no-op attempt costs: the real program on a generated workspace, CPU of its whole tree.

    python benchmarks/overhead.py [--attempts 1000] [--small] [--profile] [--json]

An attempt is a scripted model that submits in its first turn, a local sandbox, and one verify
command (`true`), 15 at a time, with everything a real attempt has: durable workflow, journal,
transcript, evidence, isolation. The figure is (CPU at N - CPU at 1) / (N - 1). Floors of the
same machine and minute stand beside it. `--json` prints one object, last.

A feature may have at most 100 attempts a round, so N attempts are N/100 independent features;
each ends with a choice and the merge of its (empty) winner, which the figure contains.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # from a fresh checkout, not installed

from measuring import Cost, Meter, machine  # noqa: E402

CONCURRENCY = 15
_PER_FEATURE = 100  # the most that a feature list allows
_RECORDING = """\
source: scripted
by: benchmarks/overhead.py
turns:
  - content:
      - {tool: submit, summary: "Nothing to do."}
"""


def workspace(folder: Path, attempts: int) -> Path:
    """A feature list for `attempts` no-op attempts, its recordings and its repository."""
    repo = folder / "repo"
    repo.mkdir(parents=True)
    (repo / "README").write_text("Nothing to see here.\n", encoding="utf-8")
    git = ["git", "-C", str(repo), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        # One date for all, so that all runs share one prepared base.
        date = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-01-01T00:00:00Z")
        subprocess.run([*git, *words], check=True, env=os.environ | date)
    rest, features = attempts, []
    while rest:
        some = min(rest, _PER_FEATURE)
        rest -= some
        features.append(
            {"id": f"noop-{len(features):03d}", "description": "Do nothing.", "attempts": some,
             "acceptance": ["true"]}
        )  # fmt: skip
    given = {
        "version": 1,
        "project": {"name": "overhead", "repo": "repo", "recording": "recordings"},
        # The quorum is all of them: no round ends before its last attempt.
        "defaults": {"attempts": _PER_FEATURE, "quorum": _PER_FEATURE, "rounds": 1},
        "features": features,
    }
    path = folder / "feature_list.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    _record(path, folder / "recordings")
    return path


def _record(path: Path, folder: Path) -> None:
    from harness.agents.prompts import feature_section, section_digest  # noqa: PLC0415
    from orchestrator.features.file import parse  # noqa: PLC0415

    for feature in parse(path.read_text("utf-8"), str(path)).features:
        own = folder / feature.id / "any.yaml"
        own.parent.mkdir(parents=True)
        digest = section_digest(feature_section(feature))
        own.write_text(f"task: {digest}\n{_RECORDING}", encoding="utf-8")


class Bench:
    """Runs the program in `folder`, one cache for all runs."""

    def __init__(self, folder: Path, meter: Meter, program: list[str]) -> None:
        self._folder = folder
        self._meter = meter
        self._program = program
        self._env = os.environ | {"FIBREFLOW_CACHE": str(folder / "cache")}

    def attempts(self, count: int, *, profile: Path | None = None) -> Cost:
        """Raises `SystemExit` with the program's words when it did not end as it should."""
        place = Path(tempfile.mkdtemp(prefix=f"run-{count}-", dir=self._folder))
        features = workspace(place / "ws", count)
        watched = [str(ROOT / "benchmarks" / "sampling.py"), str(profile)] if profile else []
        command = [sys.executable, *watched, *self._program, "--plain", "--features", str(features),
                   "--workers", str(CONCURRENCY)]  # fmt: skip
        log = place / "log"
        cost = self._meter.run(command, env=self._env, log=log)
        if cost.exit != 0 or _ended(place / "ws") != count:
            tail = log.read_text("utf-8", "replace")[-3000:]
            raise SystemExit(f"the run of {count} attempts ended with exit {cost.exit}:\n{tail}")
        shutil.rmtree(place)
        return cost

    def floor(self, kind: str, count: int) -> Cost:
        """A floor of this file's own (`_FLOORS`), in a process of its own."""
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self._folder))
        log = folder / "log"
        cost = self._meter.run(
            [sys.executable, __file__, "--floor", kind, "--attempts", str(count), str(folder)],
            log=log,
        )
        if cost.exit != 0:
            raise SystemExit(f"the floor {kind} failed:\n{log.read_text('utf-8', 'replace')}")
        shutil.rmtree(folder)
        return cost


def _ended(folder: Path) -> int:
    """How many attempts were verified, by their evidence."""
    return len(list(folder.glob("logs/*/*/*/evidence.json")))


# ------------------------------------------------------------------ the floors


async def _write_two(count: int, folder: Path) -> None:
    """Two files per attempt, written through to the disk, 15 at a time; nothing else."""
    gate = asyncio.Semaphore(CONCURRENCY)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"x" * 1000)
            file.flush()
            os.fsync(file.fileno())

    async def one(number: int) -> None:
        async with gate:
            for name in ("a", "b"):
                await asyncio.to_thread(write, folder / f"{number}.{name}")

    await asyncio.gather(*(one(n) for n in range(count)))


async def _cage_two(count: int, _folder: Path) -> None:
    """A bare `bwrap true` twice per attempt, 15 at a time: the least that isolation costs."""
    from harness.sandboxes.opening import bwrap  # noqa: PLC0415

    gate = asyncio.Semaphore(CONCURRENCY)
    command = [bwrap(), "--unshare-all", "--ro-bind", "/", "/", "/bin/true"]

    async def one() -> None:
        async with gate:
            for _ in range(2):
                child = await asyncio.create_subprocess_exec(*command)
                if await child.wait() != 0:
                    raise SystemExit("bwrap failed")

    await asyncio.gather(*(one() for _ in range(count)))


_FLOORS = {"files": _write_two, "cages": _cage_two}


# ----------------------------------------------------------------- the program


@dataclass(frozen=True, slots=True)
class Figures:
    """All per attempt in ms, but for `rss` in MB and `attempts`."""

    attempts: int
    cpu: float
    wall: float
    rss: float
    files: float
    cages: float
    exact: bool

    def to_json(self) -> dict[str, object]:
        return {
            "benchmark": "overhead",
            "attempts": self.attempts,
            "concurrency": CONCURRENCY,
            "cpu_ms_per_attempt": round(self.cpu, 2),
            "wall_ms_per_attempt": round(self.wall, 2),
            "peak_rss_mb": round(self.rss, 1),
            "floor_files_cpu_ms": round(self.files, 2),
            "floor_cages_cpu_ms": round(self.cages, 2),
            "ratio_to_floor": round(self.cpu / self.files, 2) if self.files > 0 else None,
            "cpu_is_of_the_tree_alone": self.exact,
        }


def extra_ms(one: float, many: float, count: int) -> float:
    """Milliseconds per extra attempt, from seconds at 1 and at `count`."""
    return (many - one) / (count - 1) * 1000


def measure(folder: Path, attempts: int) -> Figures:
    meter = Meter()
    try:
        bench = Bench(folder, meter, [str(ROOT / "harness" / "runner.py")])
        bench.attempts(1)  # fills the cache, so that the next is not charged for it
        one = bench.attempts(1)
        many = bench.attempts(attempts)
        floors = {k: (bench.floor(k, 1), bench.floor(k, attempts)) for k in _FLOORS}
    finally:
        meter.close()
    files, cages = (extra_ms(a.cpu, b.cpu, attempts) for a, b in floors.values())
    return Figures(
        attempts=attempts,
        cpu=extra_ms(one.cpu, many.cpu, attempts),
        wall=extra_ms(one.wall, many.wall, attempts),
        rss=many.rss / 1e6,
        files=files,
        cages=cages,
        exact=meter.exact,
    )


def profile(folder: Path, attempts: int) -> None:
    """Print on what an attempt's CPU is spent: the runner's by part, and all that it started."""
    meter = Meter()
    bench = Bench(folder, meter, [str(ROOT / "harness" / "runner.py")])
    bench.attempts(1)
    one, many = (_parts(bench, n, folder / f"profile-{n}") for n in (1, attempts))
    meter.close()
    print(f"CPU ms per extra attempt, {attempts} attempts, the profiler's own cost included:")
    for part in sorted(many, key=lambda p: one.get(p, 0.0) - many[p]):
        print(f"  {extra_ms(one.get(part, 0.0), many[part], attempts):7.2f}  {part}")
    lines = json.loads((folder / f"profile-{attempts}").read_text())["lines"]
    print("lines of the runner that used most of it:")
    for line, seconds in lines.items():
        print(f"  {seconds / attempts * 1000:7.2f}  {line}")


def _parts(bench: Bench, count: int, kept: Path) -> dict[str, float]:
    """Seconds of CPU by part."""
    cost = bench.attempts(count, profile=kept)
    found = json.loads(kept.read_text())
    return {
        **found["parts"],
        "processes it started (cages, git)": cost.cpu - found["cpu"],
        "in all": cost.cpu,
    }


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--attempts", type=int, default=1000, help="N (default %(default)s)")
    options.add_argument("--small", action="store_true", help="N = 60: a first look")
    options.add_argument("--profile", action="store_true", help="say where the time goes instead")
    options.add_argument("--json", action="store_true", help="only the JSON object")
    options.add_argument("--floor", choices=_FLOORS, help=argparse.SUPPRESS)
    options.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args(argv)
    attempts = 60 if given.small else given.attempts
    if attempts < 2 and not given.floor:
        options.error("--attempts must be at least 2: the figure is a difference")
    if given.floor:
        asyncio.run(_FLOORS[given.floor](attempts, given.folder))
        return 0
    with tempfile.TemporaryDirectory(prefix="fibreflow-overhead-") as name:
        if given.profile:
            profile(Path(name), attempts)
            return 0
        if not given.json:
            print(machine())
        found = measure(Path(name), attempts)
    if not found.exact:
        print(
            "warning: no control group could be made; CPU is the whole machine's", file=sys.stderr
        )
    if not given.json:
        print(_told(found))
    print(json.dumps(found.to_json()))
    return 0


def _told(found: Figures) -> str:
    return (
        f"{found.attempts} no-op attempts, {CONCURRENCY} at a time, per extra attempt:\n"
        f"  {found.cpu:6.1f} ms CPU of the whole tree\n"
        f"  {found.wall:6.1f} ms wall\n"
        f"  {found.rss:6.1f} MB peak resident memory of the tree, in all\n"
        f"floors: {found.files:.1f} ms CPU for two files written through to the disk "
        f"({found.cpu / found.files:.1f} times), {found.cages:.1f} ms for two bare `bwrap true`"
    )


if __name__ == "__main__":
    sys.exit(main())
