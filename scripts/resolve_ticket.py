#!/usr/bin/env python3
"""Resolves one issue: a verified draft pull request, or a comment that says why not.

    resolve_ticket.py --repo OWNER/NAME --issue N             by hand: work, then hand over
    resolve_ticket.py --repo OWNER/NAME --issue N --out DIR   work only; DIR is the artifact
    resolve_ticket.py --event FILE --out DIR                  the same, in a workflow's first job
    resolve_ticket.py --event FILE --write DIR                hand DIR over, in its second job

The token is read from GITHUB_TOKEN (work: to read; handing over: to write). Exit codes are those
of `fibreflow`; an event that asks for nothing ends in 0 and leaves no artifact.
"""

import argparse
import asyncio
import atexit
import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a fresh checkout, not installed

from harness.tickets import intake  # noqa: E402
from harness.tickets.github import API, opened  # noqa: E402
from orchestrator.errors import (  # noqa: E402
    FibreFlowError,
    InputError,
    NotPermittedError,
    TicketError,
)
from orchestrator.tickets.comments import Account  # noqa: E402
from orchestrator.tickets.ticket import COMMAND, Trigger, orders  # noqa: E402


def main(argv: list[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    options = _options(argv, environ)
    atexit.register(gc.freeze)  # as in harness/runner.py: the end is quicker so
    try:
        trigger = _trigger(options)
        if trigger is None:
            print("nothing to do: the event asks for no work on a ticket")
            return 0
        return _resolve(options, trigger)
    except NotPermittedError as error:
        print(f"nothing to do: {error}")
        return 0
    except FibreFlowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _options(argv: list[str] | None, environ: Mapping[str, str]) -> argparse.Namespace:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--repo", metavar="OWNER/NAME")
    words.add_argument("--issue", type=int, metavar="N")
    words.add_argument("--event", type=Path, metavar="FILE", help="an event of GitHub, as JSON")
    words.add_argument("--event-name", default=environ.get("GITHUB_EVENT_NAME", ""))
    words.add_argument("--ask", default="", help="instructions and flags, as after /fibreflow")
    words.add_argument("--out", type=Path, metavar="DIR", help="work only, and leave this artifact")
    words.add_argument("--write", type=Path, metavar="DIR", help="only hand this artifact over")
    words.add_argument("--checkout", type=Path, default=Path(), metavar="DIR", help="default: .")
    words.add_argument("--workspace", type=Path, metavar="DIR", help="what runs leave, and reuse")
    words.add_argument("--base", default="HEAD", help="the commit to start at (default: HEAD)")
    words.add_argument("--target", default="main", help="the branch that pull requests go to")
    words.add_argument("--remote", help="what git pushes to (default: the repository on GitHub)")
    words.add_argument("--author", default="github-actions[bot]", help="who the token writes as")
    words.add_argument("--sandbox", default="local")
    words.add_argument("--run-url", default="", help="where the job's log is")
    words.add_argument("--api", default=environ.get("GITHUB_API_URL", API))
    server = environ.get("GITHUB_SERVER_URL", intake.SERVER)
    words.set_defaults(token=environ.get("GITHUB_TOKEN"), server=server)
    return words.parse_args(argv)


def _trigger(options: argparse.Namespace) -> Trigger | None:
    if options.event is not None:
        return intake.trigger(intake.read_event(options.event, options.event_name))
    if not options.repo or not options.issue:
        raise InputError("give --repo OWNER/NAME and --issue N, or --event FILE")
    asked = orders(f"{COMMAND} {options.ask}")
    assert asked is not None  # it begins with the command
    return Trigger(options.repo, options.issue, "", "dispatch", asked)


def _resolve(options: argparse.Namespace, trigger: Trigger) -> int:
    folder: Path = options.write or options.out
    if options.write is None:
        workspace = options.workspace or Path(".fibreflow") / "tickets"
        folder = folder or workspace / f"issue-{trigger.number}"
        outcome = _work(options, trigger, workspace, folder)
        print(f"{outcome}: see {folder}")
        if options.out is not None:
            return 0
    account = asyncio.run(_write(options, trigger, folder))
    print(f"issue {trigger.number}: {account.outcome}")
    return 0


def _work(options: argparse.Namespace, trigger: Trigger, workspace: Path, folder: Path) -> str:
    from harness import app  # noqa: PLC0415 - only this half needs all of it
    from harness.models.endpoints import live_model  # noqa: PLC0415
    from harness.tickets.work import Place, work  # noqa: PLC0415

    place = Place(
        options.checkout, workspace, folder, options.api, options.token,
        options.base, options.sandbox, trusted=options.event is None,
        connect=live_model, server=options.server,
    )  # fmt: skip
    return work(trigger, place, app.start).outcome


async def _write(options: argparse.Namespace, trigger: Trigger, folder: Path) -> Account:
    from harness.tickets.writing import Desk, write  # noqa: PLC0415 - the other half

    async with opened(trigger.repo, options.token, options.api) as github:
        settled = await intake.settle(github, trigger)
    if settled is None:
        raise TicketError(f"#{trigger.number} is no pull request of ours")
    desk = Desk(
        trigger.repo, settled.number, options.checkout, options.api, options.token,
        options.remote or f"{options.server}/{trigger.repo}.git", options.target, options.author,
        options.run_url,
    )  # fmt: skip
    return await write(folder, desk)


if __name__ == "__main__":
    raise SystemExit(main())
