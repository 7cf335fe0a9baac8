"""The words of `fibreflow costs`."""

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CostOptions:
    """Files to write besides the tables; `recorded`: count replayed calls at their old price."""

    csv: Path | None = None
    png: Path | None = None
    recorded: bool = False
    json: bool = False


def add_costs(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    add("--csv", type=Path, metavar="FILE", help="every call as a line")
    add("--png", type=Path, metavar="FILE", help="charts (needs the extra `charts`)")
    add("--recorded", action="store_true", help="count replayed calls at what they once cost")
    add("--json", action="store_true", help="one JSON object instead of text")


def cost_options(args: argparse.Namespace) -> CostOptions:
    return CostOptions(csv=args.csv, png=args.png, recorded=args.recorded, json=args.json)
