#!/usr/bin/env python3
"""From an event to the artifact of a trivial ticket, the model's own time taken out.

    python benchmarks/tickets.py [--rounds 5] [--json]

The whole program as the workflow starts it, against an emulated GitHub and a Messages API that
answers at once. The first round prepares the base and the toolbox (`cold`); the others find them
(`warm`), each on an empty workspace. `where` splits the median warm round by the run's events; what
is `until artifact` includes showing that the new test fails without the change. `cpu` is processor
time of the program and its sandboxes, which other work on the machine does not change. `--json`
prints one object, last.
"""

import argparse
import asyncio
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # from a fresh checkout, not installed

from tests.emulators.github import GitHubServer  # noqa: E402
from tests.emulators.messages_api import MessagesServer  # noqa: E402
from tests.harness.tickets.shop import BODY, TITLE, Shop, mends  # noqa: E402

_STEPS = ("RunStarted", "BasePrepared", "AttemptStarted", "AttemptFinished",
          "VerificationFinished", "RunFinished")  # fmt: skip


async def measure(folder: Path, rounds: int) -> list[dict[str, float]]:
    found = []
    with GitHubServer() as github:
        github.issue(7, TITLE, BODY, "eve")
        async with MessagesServer(mends) as model:
            keys = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "any"}
            for number in range(rounds + 1):
                shop = Shop(folder / str(number), github, folder / "cache")
                began, used = time.time(), _cpu()
                code, said = await shop.work(shop.labelled(), **keys)
                if code:
                    raise SystemExit(f"the program ended with exit {code}\n{said}")
                found.append({"cpu": _cpu() - used, **_split(shop, began, time.time())})
    return found


def _cpu() -> float:
    """Processor seconds of programs that have ended, and of what they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _split(shop: Shop, began: float, ended: float) -> dict[str, float]:
    """Seconds in all, and from one step to the next."""
    (path,) = (shop.folder / "workspace").glob("*/logs/*/events.jsonl")
    moments: dict[str, float] = {}
    for line in path.read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["type"] in _STEPS:
            moments.setdefault(event["type"], _seconds(event))
    steps = {"begin": began, **{s: moments[s] for s in _STEPS if s in moments}, "artifact": ended}
    names = [*steps]
    rows = {f"until {b}": steps[b] - steps[a] for a, b in itertools.pairwise(names)}
    return {"total": ended - began, **rows}


def _seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--json", action="store_true")
    options = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="fibreflow-bench-") as name:
        cold, *warm = asyncio.run(measure(Path(name), options.rounds))
    warm.sort(key=lambda row: row["total"])
    middle = warm[len(warm) // 2]
    body = {
        "cold_s": round(cold["total"], 2),
        "warm_p50_s": round(statistics.median(row["total"] for row in warm), 2),
        "warm_max_s": round(warm[-1]["total"], 2),
        "warm_cpu_s": round(statistics.median(row["cpu"] for row in warm), 2),
        "load": round(os.getloadavg()[0], 1),
        "where": {k: round(v, 2) for k, v in middle.items() if k not in ("total", "cpu")},
    }
    print(json.dumps(body) if options.json else json.dumps(body, indent=2))


if __name__ == "__main__":
    main()
