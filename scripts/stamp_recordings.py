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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a fresh checkout, not installed

from harness.agents.prompts import feature_section, section_digest  # noqa: E402
from harness.models.recorded import Recording, load  # noqa: E402
from harness.planner.asking import PLAN, key_of, section  # noqa: E402
from orchestrator import registry  # noqa: E402
from orchestrator.deploy import rework  # noqa: E402
from orchestrator.features.file import parse  # noqa: E402
from orchestrator.planner import course as planning  # noqa: E402
from orchestrator.planner.course import Planned, Stuck, Turn  # noqa: E402
from orchestrator.planner.documents import Comment, Document  # noqa: E402

_TASK = re.compile(r"^task:.*$", re.MULTILINE)


def stamp(text: str, digest: str) -> str:
    """The recording's text with `task: digest`; everything else stays byte by byte."""
    line = f"task: {digest}"
    return _TASK.sub(line, text, count=1) if _TASK.search(text) else f"{line}\n{text}"


def of_goal(goal: str, folder: Path) -> dict[str, str]:
    """`FEATURE` or `_plan/ATTEMPT` -> digest, by what the recorded plan comes to, also where a
    person has rejected it first. What a rejected deployment becomes goes by the first."""
    roles = {key_of(role): role for role in registry.ROLES}
    digests = {str(key): section_digest(section(goal, role)) for key, role in roles.items()}
    for made in reversed(list(plans(folder))):
        digests |= of_list(planning.feature_list(made, {}, {}), "the recorded plan", folder)
    return digests


def plans(folder: Path) -> Iterator[Planned]:
    """What the recorded roles come to; then anew after each rejection that the first answers."""
    said: list[Document] = []
    while True:
        turn = planning.next_turn(said)
        if isinstance(turn, Stuck):
            raise SystemExit(f"{turn.last.name}: {'; '.join(c.text for c in turn.last.comments)}")
        if turn is not None:
            said.append(_answered(turn, folder, said))
            continue
        standing = planning.accepted(said)
        yield planning.planned(standing)
        first = standing[registry.ROLES[0].writes]
        if len(_recorded(registry.ROLES[0], folder).turns) == first.version:
            return
        said[said.index(first)] = replace(first, comments=(Comment("a person", "no"),))


def _answered(turn: Turn, folder: Path, said: list[Document]) -> Document:
    role, standing = turn.role, planning.accepted(said)
    answer = _recorded(role, folder).turns[turn.version - 1].content[-1]["input"]
    content, problems = planning.read(role.writes, answer, standing, planning.Ground())
    parent = turn.parent.name if turn.parent is not None else ""
    told = tuple(Comment(planning.CHECKS, text) for text in problems)
    return Document(role.writes, turn.version, role.name, parent, (), content, told)


def _recorded(role: registry.Role, folder: Path) -> Recording:
    return load(folder / PLAN / f"{key_of(role).name}.yaml")


def of_list(text: str, source: str, folder: Path) -> dict[str, str]:
    """Feature -> digest, and so for the features that recorded rejections would become."""
    given = parse(text, source)
    for path in sorted(folder.glob(f"{rework.PREFIX}*/*.yaml")):
        number = path.parent.name.removeprefix(rework.PREFIX)
        reason = load(path).rejection
        given = rework.foreseen(given, number, reason) if reason else given
    return {feature.id: section_digest(feature_section(feature)) for feature in given.features}


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("feature_list", type=Path)
    options.add_argument(
        "folder", type=Path, help="the recordings: FOLDER/<feature>/<attempt>.yaml"
    )
    given = options.parse_args(argv)
    text = given.feature_list.read_text("utf-8")
    goal = json.loads(text).get("goal") if given.feature_list.name == "goal.json" else None
    digests = (
        of_goal(goal, given.folder)
        if goal
        else of_list(text, str(given.feature_list), given.folder)
    )
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
