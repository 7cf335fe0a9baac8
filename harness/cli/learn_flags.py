"""The words of `fibreflow learn`."""

import argparse
from dataclasses import dataclass
from pathlib import Path

WORDS = {
    "review": "success, failures, bottlenecks and proposals of the last days; applies nothing",
    "list": "the patterns of this workspace",
    "show": "one pattern, with what each run saw of it",
    "import": "add the patterns of another file, also of the original format",
}


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """`word` is one of `WORDS`; `what` a pattern's id (or how it begins) or a file."""

    word: str
    what: str = ""
    days: float = 7.0
    json: bool = False

    @property
    def file(self) -> Path:
        return Path(self.what)


def add_learn(sub: argparse.ArgumentParser, parser_class: type[argparse.ArgumentParser]) -> None:
    words = sub.add_subparsers(
        dest="word", metavar="WORD", required=True, parser_class=parser_class
    )
    made = {
        name: words.add_parser(name, help=text, allow_abbrev=False) for name, text in WORDS.items()
    }
    for one in made.values():
        # Suppressed, so that its absence here does not undo one given before the word.
        one.add_argument("--workspace", type=Path, metavar="DIR", default=argparse.SUPPRESS)
    for name in ("review", "list", "show"):
        made[name].add_argument("--json", action="store_true", help="one JSON value, no text")
    made["review"].add_argument(
        "--days", type=float, default=7.0, metavar="N", help="how far back (default: 7)"
    )
    made["show"].add_argument("what", metavar="PATTERN", help="its id, or how it begins")
    made["import"].add_argument("what", metavar="FILE")


def learn_options(args: argparse.Namespace) -> LearnOptions:
    return LearnOptions(
        args.word,
        getattr(args, "what", ""),
        getattr(args, "days", 7.0),
        getattr(args, "json", False),
    )
