#!/usr/bin/env python3
"""How many attempts can be in flight: the engine and its queue, attempts that only wait.

    python benchmarks/scale.py [--attempts 1000] [--seconds 5] [--json]

Each attempt is a durable workflow that waits, as one waits for a model and a remote sandbox; the
ratio is the time for all of them over the time of one. What planning costs per event is measured
on DAGs of 100, 1,000 and 10,000 features. On SQLite, one process. `--json` prints one object, last.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # from a fresh checkout

from harness.engine import Engine
from orchestrator.graph import Frontier, Graph
from orchestrator.values import Feature

SIZES = (100, 1000, 10000)


async def in_flight(folder: Path, attempts: int, seconds: float) -> float:
    """Seconds from the first to the last of `attempts` at once."""
    engine = Engine(folder, workers=attempts)

    async def attempt(number: int) -> int:
        await asyncio.sleep(seconds)
        return number

    async def feature() -> int:
        names = {f"a{n}": (n,) for n in range(attempts)}
        await engine.enqueue("attempt", names, priority=1)
        open_ = set(names)
        while open_:
            open_ -= (await engine.finished(sorted(open_))).keys()
        return attempts

    engine.register("attempt", attempt)
    engine.register("feature", feature)
    await engine.start()
    began = time.monotonic()
    assert await engine.run("feature", "f") == attempts
    took = time.monotonic() - began
    await engine.close()
    return took


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        took = asyncio.run(in_flight(Path(folder), options.attempts, options.seconds))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = usage.ru_maxrss / 1024
    found: dict[str, Any] = {
        f"inflight_{options.attempts}_ratio_sqlite": round(took / options.seconds, 3),
        "cpu_ms_per_attempt": round((usage.ru_utime + usage.ru_stime) * 1000 / options.attempts, 2),
        "peak_rss_mb": round(peak, 1),
        "plan_ms_per_event": {str(size): round(planning_ms(size), 4) for size in SIZES},
    }
    for name, value in found.items():
        print(f"{name}: {value}")
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
