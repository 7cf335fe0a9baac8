#!/usr/bin/env python3
"""Writes into each recording the digest of the task it is made for: FEATURE_LIST FOLDER.

Run it after a feature's text was changed on purpose; see `harness/models/recorded.py`.
Prints what changed; exits with 1 when a recording belongs to no feature.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a fresh checkout, not installed

from harness.agents.prompts import feature_section, section_digest  # noqa: E402
from orchestrator.features import parse  # noqa: E402

_TASK = re.compile(r"^task:.*$", re.MULTILINE)


def stamp(text: str, digest: str) -> str:
    """The recording's text with `task: digest`; everything else stays byte by byte."""
    line = f"task: {digest}"
    return _TASK.sub(line, text, count=1) if _TASK.search(text) else f"{line}\n{text}"


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("feature_list", type=Path)
    options.add_argument(
        "folder", type=Path, help="the recordings: FOLDER/<feature>/<attempt>.yaml"
    )
    given = options.parse_args(argv)
    features = parse(given.feature_list.read_text("utf-8"), str(given.feature_list)).features
    digests = {feature.id: section_digest(feature_section(feature)) for feature in features}
    strangers = 0
    for path in sorted(given.folder.glob("*/*.yaml")):
        digest = digests.get(path.parent.name)
        if digest is None:
            print(f"{path}: no feature {path.parent.name!r} in {given.feature_list}")
            strangers += 1
            continue
        before = path.read_text("utf-8")
        after = stamp(before, digest)
        if after != before:
            path.write_text(after, "utf-8")
            print(f"{path}: stamped")
    return 1 if strangers else 0


if __name__ == "__main__":
    sys.exit(main())
