#!/usr/bin/env python3
"""Writes what the action installs, version by version and by hash: `action-requirements.txt`.

    lock_action.py [FILE]

The jobs of a ticket hold a model's key or a token that can write, so that nothing gets into them
which was published since this was written. Asks the package index that pip is configured for, for
the runner's platform (CPython 3.12 on Linux, x86-64), and installs nothing.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "action-requirements.txt"
_PYTHON = "3.12"
_PLATFORMS = ("manylinux_2_39_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
_HEAD = "# Written by scripts/lock_action.py: what action.yml installs, on its runner's platform.\n"


def wanted() -> list[str]:
    """What `pyproject.toml` asks for, without its extras."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def resolved(folder: Path) -> list[dict[str, Any]]:
    """pip's own report: a wheel of each package, with its hash."""
    report = folder / "report.json"
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    words = [
        sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
        "--only-binary=:all:", "--python-version", _PYTHON, "--implementation", "cp", *platforms,
        "--target", str(folder / "none"), "--report", str(report), *wanted(),
    ]  # fmt: skip
    subprocess.run(words, check=True)
    return list(json.loads(report.read_text())["install"])


def line(entry: dict[str, Any]) -> str:
    found = entry["metadata"]
    digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{found['name'].lower()}=={found['version']} --hash=sha256:{digest}\n"


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    with tempfile.TemporaryDirectory() as name:
        rows = sorted(line(entry) for entry in resolved(Path(name)))
    target.write_text(_HEAD + "".join(rows))


if __name__ == "__main__":
    main()
