#!/usr/bin/env python3
"""Writes into each recording the digest of the task it is made for: FEATURE_LIST FOLDER.

Run it after a feature's text was changed on purpose; see `harness/models/recorded.py`. A goal file
in place of the list: the features are then those that the recorded plan comes to.
Prints what changed; exits with 1 when a recording belongs to no feature.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a fresh checkout, not installed

from harness.agents.prompts import feature_section, section_digest  # noqa: E402
from harness.models.recorded import load  # noqa: E402
from harness.planner.asking import PLAN, key_of, section  # noqa: E402
from orchestrator import registry  # noqa: E402
from orchestrator.features.file import parse  # noqa: E402
from orchestrator.planner import course as planning  # noqa: E402
from orchestrator.planner.documents import Document  # noqa: E402

_TASK = re.compile(r"^task:.*$", re.MULTILINE)


def stamp(text: str, digest: str) -> str:
    """The recording's text with `task: digest`; everything else stays byte by byte."""
    line = f"task: {digest}"
    return _TASK.sub(line, text, count=1) if _TASK.search(text) else f"{line}\n{text}"


def of_goal(goal: str, folder: Path) -> dict[str, str]:
    """`FEATURE` or `_plan/ATTEMPT` -> digest, by the last answers of the recorded plan."""
    digests: dict[str, str] = {}
    standing: dict[registry.Kind, Document] = {}
    for role in registry.ROLES:
        key = key_of(role)
        digests[str(key)] = section_digest(section(goal, role))
        answer = load(folder / PLAN / f"{key.name}.yaml").turns[-1].content[-1]["input"]
        content, problems = planning.read(role.writes, answer, standing, planning.Ground())
        if problems:
            raise SystemExit(f"{key}: {'; '.join(problems)}")
        standing[role.writes] = Document(role.writes, 1, role.name, "", (), content)
    text = planning.feature_list(planning.planned(standing), {}, {})
    return digests | of_list(text, "the recorded plan")


def of_list(text: str, source: str) -> dict[str, str]:
    features = parse(text, source).features
    return {feature.id: section_digest(feature_section(feature)) for feature in features}


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("feature_list", type=Path)
    options.add_argument(
        "folder", type=Path, help="the recordings: FOLDER/<feature>/<attempt>.yaml"
    )
    given = options.parse_args(argv)
    text = given.feature_list.read_text("utf-8")
    goal = json.loads(text).get("goal") if given.feature_list.name == "goal.json" else None
    digests = of_goal(goal, given.folder) if goal else of_list(text, str(given.feature_list))
    strangers = 0
    for path in sorted(given.folder.glob("*/*.yaml")):
        name = path.parent.name
        digest = digests.get(f"{PLAN}/{path.stem}" if name == PLAN else name)
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
