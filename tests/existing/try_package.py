"""Tries the whole spine on any release of the index: `python -m tests.existing.try_package NAME
VERSION --test "python -m pytest -q tests" [--tests tests] [--root src] [--setup CMD] [--seed N]`.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.existing.packages import Package
from tests.existing.spine import Restored, passed, restore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("--test", default="python -m pytest -q")
    parser.add_argument("--tests", nargs="*", default=[])
    parser.add_argument("--root", nargs="*", default=["."])
    parser.add_argument("--setup")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "sdists")
    parser.add_argument("--keep", type=Path, help="an empty folder for repository and logs")
    given = parser.parse_args()
    package = Package(
        given.name, given.version, "", given.test, tuple(given.tests), tuple(given.root),
        given.setup,
    )  # fmt: skip
    folder = given.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(restore(package, given.cache, folder, count=given.count, seed=given.seed))
    return _tell(found)


def _tell(found: Restored) -> int:
    states = [feature["state"] for feature in found.report.get("features", ())]
    lost = sorted(found.before - found.after)
    good = sum(passed(e) for e in found.attempts.values())
    lines = [
        found.output,
        f"exit {found.code}, {states}, {len(found.before)} tests before, {len(lost)} lost",
        f"{len(found.attempts)} attempts verified, {good} of them passed",
        *(f"  lost: {test}" for test in lost[:10]),
    ]
    sys.stdout.write("\n".join([*lines, ""]))
    return 1 if found.code or lost else 0


if __name__ == "__main__":
    sys.exit(main())
