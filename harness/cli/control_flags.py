"""The words of the commands that steer a run at work, and that look into it."""

import argparse
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.cli import flag_values
from orchestrator.runs import hours

#: What each does. Those before `logs` ask a run for something; the others only look.
COMMANDS: Mapping[str, str] = {
    "pause": "let what is at work end, and begin nothing until `resume`",
    "drain": "let what is at work end, then leave",
    "stop": "leave at once; the same command goes on",
    "retune": "change the attempts, workers or budget of a run at work",
    "requeue": "work again on a feature that has ended",
    "skip": "take a feature out of the run",
    "logs": "what happened, line by line",
    "attempt": "one attempt: its conversation, patch and evidence",
    "diff": "what was merged for a feature, or would be",
    "verify": "verify a finished run's patches again and choose again; 1: something differs",
    "replay": "play a run again from its recording, in a copy; 1: a feature ended otherwise",
    "lock": "what a run was given, resolved; with --diff, in what another was given something else",
}
ASKING = ("pause", "drain", "stop", "retune", "requeue", "skip")


def add(sub: argparse.ArgumentParser, name: str) -> None:
    """The arguments of one of `COMMANDS`."""
    if name in ("requeue", "skip", "diff"):
        sub.add_argument("feature", metavar="FEATURE")
    if name == "attempt":
        sub.add_argument("action", choices=("show",), metavar="show")
        sub.add_argument("id", metavar="FEATURE/ATTEMPT", help="such as api/r1-a02")
        sub.add_argument("name", nargs="?", metavar="ATTEMPT", help="or as a second word")
    if name == "retune":
        sub.add_argument(
            "--attempts", type=flag_values.number(1, 100), metavar="N", help="of rounds to come"
        )
        sub.add_argument(
            "--workers", type=flag_values.number(1, 1000), metavar="N", help="at work at once"
        )
        sub.add_argument(
            "--budget", type=flag_values.money, metavar="USD", help="the most it may cost"
        )
    if name == "logs":
        sub.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    if name in ("verify", "replay", "lock"):
        _add_again(sub, name)
    else:
        sub.add_argument("--run", dest="run_id", metavar="RUN", help="default: the newest")


def _add_again(sub: argparse.ArgumentParser, name: str) -> None:
    """The arguments of the commands that go over a run once more."""
    sub.add_argument("run_id", nargs="?", metavar="RUN", help="default: the newest")
    sub.add_argument("--json", action="store_true", help="one JSON object instead of text")
    if name == "verify":
        sub.add_argument("--only", metavar="ID", help="only this feature")
    if name == "replay":
        sub.add_argument("--into", type=Path, metavar="DIR", help="a new folder for the copy")
    if name == "lock":
        sub.add_argument("--diff", metavar="RUN", help="the other run, or a lock file; 1: differs")


def add_to_run(sub: argparse.ArgumentParser) -> None:
    """The arguments of `run` that say when and where it works."""
    add = sub.add_argument
    add(
        "--detach",
        action="store_true",
        help="go on in the background; `status` and `stop` reach it",
    )
    add("--until", type=_as(hours.moment, datetime.min), metavar="TIME", help="drain at 07:00, say")
    add("--not-before", type=_as(hours.moment, datetime.min), metavar="TIME", help="begin at 22:00")
    add(
        "--quiet-hours",
        type=_as(hours.span),
        metavar="FROM-TO",
        help="begin nothing in 08:00-18:00",
    )


def of_run(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `run` that are declared here."""
    return {name: getattr(args, name) for name in ("detach", "until", "not_before", "quiet_hours")}


def _as(parse: Callable[..., object], *more: object) -> Callable[[str], str]:
    """The text itself, once `parse` can read it: moments are counted from when the run begins."""

    def checked(text: str) -> str:
        try:
            parse(text, *more)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no time such as 07:00") from None
        return text

    return checked
