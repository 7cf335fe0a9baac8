"""The words of the commands about a fleet: its workers, and the limits that hold for all of it."""

import argparse
from collections.abc import Mapping

from harness.cli import flag_values
from orchestrator.values import TIERS

COMMANDS: Mapping[str, str] = {
    "worker": "take attempts of the runs of $HARNESS_DATABASE_URL, on this machine",
    "fleet": "who works on the runs of $HARNESS_DATABASE_URL, and within which limits",
}


def add(sub: argparse.ArgumentParser, name: str) -> None:
    """The arguments of one of `COMMANDS`."""
    if name == "worker":
        sub.add_argument(
            "--workers",
            type=flag_values.number(1, 10_000),
            metavar="N",
            default=15,
            help="attempts at work at once here (default: %(default)s)",
        )
        return
    sub.add_argument("--json", action="store_true", help="one JSON object instead of text")
    sub.add_argument(
        "--forget",
        type=flag_values.number(0, 10_000),
        metavar="DAYS",
        help="remove from the database what it keeps, money apart, of runs that are over and "
        "began more than DAYS ago; their files stay",
    )
    sub.add_argument(
        "--limit",
        action="append",
        type=_limit,
        metavar="NAME=N",
        help=f"at most N attempts at once on all machines: NAME is all or {', '.join(TIERS)}; "
        "NAME=none lifts it; may be repeated",
    )


def _limit(text: str) -> tuple[str, int | None]:
    name, _, value = text.partition("=")
    if name not in ("all", *TIERS) or not (value == "none" or value.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no limit such as all=200 or opus=20")
    return name, None if value == "none" else int(value)
