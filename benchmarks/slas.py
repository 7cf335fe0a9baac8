#!/usr/bin/env python3
"""What watching many SLAs costs, and how soon people hear of a violation.

    python benchmarks/slas.py [--slas 200] [--interval 60] [--minutes 3] [--json]

A real `fibreflow sla watch` over as many files as SLAs, which tells a local Slack. After a warm
round, a few files go stale one after the other. `delivery_s` is from the check that saw it (its
time stands in the kept samples) to the message in Slack; `cpu_percent` is the watch's CPU time by
wall time, of one core, without its start. `--json` prints one object, last.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # from a fresh checkout, not installed

from measuring import machine  # noqa: E402

from tests.emulators.slack import Call, SlackServer  # noqa: E402

_TICK = os.sysconf("SC_CLK_TCK")
#: Files are this old at most before they break their promise, and fresh ones are far younger.
_STALE = 3600.0


class Arrivals:
    """When each SLA's violation was told, by Slack's clock, which is this machine's."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def __call__(self, call: Call) -> None:
        for word in str(call.body.get("text", "")).split():
            if word.startswith("sla_"):
                self.at.setdefault(word, time.time())


def write(workspace: Path, slack: SlackServer, number: int, interval: float) -> list[str]:
    names = [f"sla_{n:03d}" for n in range(number)]
    slas = {
        name: {"probe": {"type": "file_age", "path": name}, "error": _STALE, "interval": interval}
        for name in names
    }
    notify = {"default": ["slack"], "slack": {"channel": "#data", "api_url": slack.api_url}}
    body = {"slas": slas, "notify": notify}
    (workspace / "data_layer_slas.yaml").write_text(json.dumps(body), encoding="utf-8")
    for name in names:
        (workspace / name).touch()
    return names


@contextlib.contextmanager
def watching(workspace: Path, token: str) -> Iterator[int]:
    """The watch's process, once it listens."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "harness" / "runner.py", "sla", "watch",
         "--workspace", workspace, "--ports", "0", "0"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "SLACK_BOT_TOKEN": token},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def cpu(pid: int) -> float:
    """Seconds of CPU that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def seen(workspace: Path) -> dict[str, float]:
    """When each SLA was first seen violated."""
    found: dict[str, float] = {}
    for file in sorted((workspace / "logs" / "sla" / "samples").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            sample = json.loads(line)
            if sample["state"] == "error":
                found.setdefault(sample["sla"], sample["time"])
    return found


def measure(number: int, interval: float, minutes: float) -> dict[str, object]:
    arrivals = Arrivals()
    with tempfile.TemporaryDirectory() as folder, SlackServer(arrivals) as slack:  # type: ignore[arg-type]
        workspace = Path(folder)
        names = write(workspace, slack, number, interval)
        broken = random.Random(7).sample(names, min(20, number))
        with watching(workspace, slack.bot_token) as pid:
            time.sleep(min(interval, number * 0.3) + 1)  # each was checked once
            began, before = time.time(), cpu(pid)
            for name in broken:
                os.utime(workspace / name, (0, 0))
                time.sleep(minutes * 60 / len(broken))
            used = (cpu(pid) - before) / (time.time() - began)
            end = time.time() + 1.2 * interval + 15  # the last one's next check, and its way
            while len(arrivals.at) < len(broken) and time.time() < end:
                time.sleep(0.1)
        first = seen(workspace)
    delays = sorted(arrivals.at[name] - first[name] for name in broken if name in arrivals.at)
    return {
        "slas": number,
        "interval_s": interval,
        "violations": len(broken),
        "told": len(delays),
        "delivery_s_median": round(delays[len(delays) // 2], 2) if delays else None,
        "delivery_s_max": round(delays[-1], 2) if delays else None,
        "cpu_percent": round(100 * used, 2),
        "machine": machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--slas", type=int, default=200)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between checks")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long CPU is measured")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.slas, args.interval, args.minutes)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:20} {value}")
    return 0 if found["told"] == found["violations"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
