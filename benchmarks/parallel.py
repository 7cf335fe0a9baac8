#!/usr/bin/env python3
"""What many workers gain: the real program on equal features whose time is waiting.

    python benchmarks/parallel.py [--features 60] [--seconds 110] [--workers 15] [--one] [--json]

Every feature has one attempt, which writes a file after waiting as long as one waits for a model,
and is verified and merged like any other: sandboxes, journal, git, the merge queue and the tests of
each merged tree are real. The figure is the time with one worker over the time with many. What is
not waiting is spent once in either run, so that longer waits (real attempts: many minutes) only
raise it. One worker cannot need less than features x seconds, so that this stands for it, and the
figure is surely reached; `--one` runs the one worker too, for hours. `--json` prints one object,
last.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # from a fresh checkout, not installed

from measuring import machine  # noqa: E402


def workspace(folder: Path, features: int, seconds: float) -> Path:
    """A list of independent features, their recordings and their repository; the list's path."""
    repo = folder / "repo"
    repo.mkdir(parents=True)
    (repo / "has.sh").write_text('test -s "$1.txt"\n', encoding="utf-8")
    git = ["git", "-C", str(repo), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True)
    entries = [
        {"id": f"part-{n:03d}", "description": f"Write part-{n:03d}.txt.",
         "acceptance": [f"sh has.sh part-{n:03d}"]}
        for n in range(features)
    ]  # fmt: skip
    given = {
        "version": 1,
        "project": {"name": "parallel", "repo": "repo", "recording": "recordings"},
        "defaults": {"attempts": 1, "rounds": 1},
        "features": entries,
    }
    path = folder / "feature_list.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    _record(path, folder / "recordings", seconds)
    return path


def _record(path: Path, folder: Path, seconds: float) -> None:
    from harness.agents.prompts import feature_section, section_digest  # noqa: PLC0415
    from orchestrator.features.file import parse  # noqa: PLC0415

    for feature in parse(path.read_text("utf-8"), str(path)).features:
        wait = f"sleep {seconds}; echo done > {feature.id}.txt"
        body = {
            "source": "scripted",
            "by": "benchmarks/parallel.py",
            "task": section_digest(feature_section(feature)),
            "turns": [
                {"content": [{"tool": "bash", "command": wait}]},
                {"content": [{"tool": "submit", "summary": "Written."}]},
            ],
        }
        own = folder / feature.id / "any.yaml"
        own.parent.mkdir(parents=True)
        own.write_text(json.dumps(body), encoding="utf-8")  # JSON is YAML


def run(features: int, seconds: float, workers: int, sandbox: str) -> float:
    """Seconds of the whole program, its start and its first base included. Raises `SystemExit`
    when not everything was merged."""
    with tempfile.TemporaryDirectory(prefix="fibreflow-parallel-") as name:
        folder = Path(name)
        given = workspace(folder, features, seconds)
        command = [sys.executable, str(ROOT / "harness" / "runner.py"), "--plain", "--features",
                   str(given), "--workers", str(workers), "--sandbox", sandbox]  # fmt: skip
        env = os.environ | {"FIBREFLOW_CACHE": str(folder / "cache")}
        began = time.monotonic()
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        took = time.monotonic() - began
        merged = [json.loads(p.read_bytes()) for p in folder.glob("logs/*/report.json")]
        states = [f["state"] for report in merged for f in report["features"]]
        if done.returncode != 0 or states != ["merged"] * features:
            raise SystemExit(f"exit {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return took


def measure(options: argparse.Namespace) -> dict[str, Any]:
    where = (options.features, options.seconds)
    many = run(*where, options.workers, options.sandbox)
    least = options.features * options.seconds
    one = run(*where, 1, options.sandbox) if options.one else least
    return {
        "benchmark": "parallel",
        "features": options.features,
        "seconds_waited_by_each": options.seconds,
        "workers": options.workers,
        "seconds_with_one": round(one, 1),
        "one_is_a_bound": not options.one,
        "seconds_with_many": round(many, 1),
        "speed_up": round(one / many, 2),
        "sandbox": options.sandbox,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=int, default=60)
    # A command of an agent may take 120 s at the most.
    parser.add_argument("--seconds", type=float, default=110.0, help="that each attempt waits")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--sandbox", default="local")
    parser.add_argument("--one", action="store_true", help="run the one worker, too")
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    options = parser.parse_args()
    if not options.json:
        print(machine())
    found = measure(options)
    if not options.json:
        print(
            f"{found['features']} features that wait {options.seconds:g} s each: "
            f"{found['seconds_with_one']} s with one worker, {found['seconds_with_many']} s with "
            f"{found['workers']}: {found['speed_up']} times as fast"
        )
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
