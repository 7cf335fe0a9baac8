"""The arguments of `run` that turn a goal into a feature list first."""

import argparse
from typing import Any


def add_to_run(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    add(
        "--autopilot",
        nargs="?",
        const="",
        metavar="GOAL",
        help="unattended: never ask, leave with an exit code; with a GOAL, plan it first",
    )
    add("--plan-only", action="store_true", help="stop when the goal's feature list is written")
    add("--approve-plan", action="store_true", help="a person approves the plan before work begins")
    add("--commit-documents", action="store_true", help="put the plan's documents on the branch")


def of_run(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `run` that are declared here."""
    names = ("plan_only", "approve_plan", "commit_documents")
    return {
        "autopilot": args.autopilot is not None,
        "goal": args.autopilot or "",
        **{name: getattr(args, name) for name in names},
    }
