#!/usr/bin/env python3
"""What a skill costs beside the bare interpreter: both as processes, from start to result.

    python benchmarks/skills.py [--rounds 60] [--json]

Each round starts, one after the other and in changing order, `python -I -c pass` and each
skill that only looks at this machine (a small git repository, a log of 2,000 lines, a project
file, /proc), so that other work of the machine falls on all alike. `ratio` is the median skill
against the interpreter; every skill's own is listed, and the ratio to an interpreter that, as
these skills do, leaves its site packages out. The two that wait for others (test-runner,
postgres-freshness) are left out. `--json` prints one object, last.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # from a fresh checkout, not installed

from harness.skills import SHIPPED, load_all  # noqa: E402

BARE = "bare"
BARE_ALONE = "bare without site packages"


def commands(folder: Path) -> dict[str, list[str]]:
    """Command lines by skill, with something to look at in `folder`."""
    git = ["git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["rich"]\n')
    lines = (f"2026-01-01 ERROR {n} request {n:08x} failed\ninfo {n}\n" for n in range(1000))
    (folder / "app.log").write_text("".join(lines))
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True)
    args = {
        "repo-status": [str(folder)],
        "log-triage": [str(folder / "app.log")],
        "dependency-audit": [str(folder)],
        "vps-monitor": [],
    }
    skills = load_all(SHIPPED)
    found = {name: skills[name].argv(words) for name, words in args.items()}
    return {
        BARE: [sys.executable, "-I", "-c", "pass"],
        BARE_ALONE: [sys.executable, "-I", "-S", "-c", "pass"],
        **found,
    }


def timed(command: list[str]) -> float:
    """Milliseconds from start to exit."""
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    done = subprocess.run(command, stdout=quiet, stderr=quiet, check=False)
    if done.returncode > 1:
        raise SystemExit(f"{command} ended with {done.returncode}")
    return (time.perf_counter() - began) * 1000


def measure(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        todo = commands(Path(folder))
        taken: dict[str, list[float]] = {name: [] for name in todo}
        for name, command in todo.items():
            timed(command)  # once, for the page cache
            assert taken[name] == []
        for _ in range(rounds):
            names = list(todo)
            random.shuffle(names)
            for name in names:
                taken[name].append(timed(todo[name]))
    p50 = {name: statistics.median(times) for name, times in taken.items()}
    bare, alone = p50.pop(BARE), p50.pop(BARE_ALONE)
    skill = statistics.median(p50.values())
    return {
        "skill_p50_ms": round(skill, 2),
        "bare_p50_ms": round(bare, 2),
        "ratio": round(skill / bare, 3),
        "bare_without_site_p50_ms": round(alone, 2),
        "ratio_to_bare_without_site": round(skill / alone, 3),
        "skills": {name: round(ms, 2) for name, ms in p50.items()},
        "ratios": {name: round(ms / bare, 3) for name, ms in p50.items()},
        "rounds": rounds,
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.rounds)
    if args.json:
        print(json.dumps(found))
        return 0
    for name, value in found.items():
        print(f"{name:14} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
