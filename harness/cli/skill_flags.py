"""The words of `fibreflow skill`."""

import argparse
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SkillOptions:
    """`name` and `args` are empty for `list`."""

    word: str
    name: str = ""
    args: tuple[str, ...] = ()


def add_skill(sub: argparse.ArgumentParser, parser_class: Any) -> None:
    words = sub.add_subparsers(
        dest="word", metavar="WORD", required=True, parser_class=parser_class
    )
    words.add_parser("list", help="the skills there are", allow_abbrev=False)
    show = words.add_parser("show", help="what one is for and takes", allow_abbrev=False)
    run = words.add_parser("run", help="run one's script; no model is asked", allow_abbrev=False)
    for one in (show, run):
        one.add_argument("skill", metavar="NAME")
    run.add_argument("args", nargs=argparse.REMAINDER, metavar="...", help="handed to the script")


def skill_options(args: argparse.Namespace) -> SkillOptions:
    given = vars(args)
    return SkillOptions(args.word, given.get("skill", ""), tuple(given.get("args", ())))
