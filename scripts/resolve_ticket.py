#!/usr/bin/env python3
"""Resolves one issue: a verified draft pull request, or a comment that says why not.

    resolve_ticket.py --repo OWNER/NAME --issue N             by hand: work, then hand over
    resolve_ticket.py --repo OWNER/NAME --issue N --out DIR   work only; DIR is the artifact
    resolve_ticket.py --event FILE --gate                     a workflow's first job: may it begin?
    resolve_ticket.py --event FILE --out DIR                  the second: work
    resolve_ticket.py --event FILE --write DIR                the third: hand DIR over

The token is read from GITHUB_TOKEN (work: to read; handing over: to write). Exit codes are those
of `fibreflow`; an event that asks for nothing ends in 0 and leaves no artifact. `--gate` needs
nothing but the standard library and prints `issue=N`, or nothing.
"""

import argparse
import asyncio
import atexit
import gc
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a fresh checkout, not installed

from harness.tickets import asking, gate  # noqa: E402
from orchestrator.errors import FibreFlowError, InputError, NotPermittedError  # noqa: E402
from orchestrator.tickets.ticket import COMMAND, Trigger, orders  # noqa: E402

if TYPE_CHECKING:
    from orchestrator.tickets.comments import Account, Outcome

API = "https://api.github.com"
SERVER = "https://github.com"


def main(argv: list[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    options = _options(argv, environ)
    atexit.register(gc.freeze)  # as in harness/runner.py: the end is quicker so
    try:
        trigger = _trigger(options)
        if trigger is None:
            print("nothing to do: the event asks for no work on a ticket", file=sys.stderr)
            return 0
        return _gate(options, trigger) if options.gate else _resolve(options, trigger)
    except NotPermittedError as error:
        print(f"nothing to do: {error}", file=sys.stderr)
        return 0
    except FibreFlowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _options(argv: list[str] | None, environ: Mapping[str, str]) -> argparse.Namespace:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = words.add_argument
    add("--repo", metavar="OWNER/NAME")
    add("--issue", type=int, metavar="N")
    add("--event", type=Path, metavar="FILE", help="an event of GitHub, as JSON")
    add("--event-name", default=environ.get("GITHUB_EVENT_NAME", ""))
    add("--ask", default="", help="instructions and flags, as after /fibreflow")
    steps = words.add_mutually_exclusive_group()
    steps.add_argument("--gate", action="store_true", help="only ask whether work may begin")
    steps.add_argument("--out", type=Path, metavar="DIR", help="work only, and leave this artifact")
    steps.add_argument("--write", type=Path, metavar="DIR", help="only hand this artifact over")
    add("--checkout", type=Path, default=Path(), metavar="DIR", help="default: .")
    add("--workspace", type=Path, metavar="DIR", help="what runs leave, and reuse")
    add("--base", default="HEAD", help="the commit to start at (default: HEAD)")
    add("--target", help="the branch that pull requests go to (default: the repository's own)")
    add("--remote", help="what git pushes to (default: the repository on GitHub)")
    add("--author", help="who the token writes as (default: as GitHub says)")
    add("--sandbox", default="", help="as of `fibreflow run` (default: what this machine has)")
    add("--run-url", default="", help="where the job's log is")
    add("--api", default=environ.get("GITHUB_API_URL", API))
    server = environ.get("GITHUB_SERVER_URL", SERVER)
    words.set_defaults(token=environ.get("GITHUB_TOKEN"), server=server)
    return words.parse_args(argv)


def _trigger(options: argparse.Namespace) -> Trigger | None:
    if options.event is not None:
        return asking.trigger(asking.read_event(options.event, options.event_name))
    if not options.repo or not options.issue:
        raise InputError("give --repo OWNER/NAME and --issue N, or --event FILE")
    try:
        asked = orders(f"{COMMAND} {options.ask}")
    except ValueError as error:
        raise InputError(f"--ask: {error}") from error
    assert asked is not None  # it begins with the command
    return Trigger(options.repo, options.issue, "", "dispatch", asked)


def _gate(options: argparse.Namespace, trigger: Trigger) -> int:
    print(f"issue={asyncio.run(gate.admitted(trigger, options.token, options.api))}")
    return 0


def _resolve(options: argparse.Namespace, trigger: Trigger) -> int:
    if not options.token:
        raise InputError("set GITHUB_TOKEN; docs/tickets.md says which rights it needs")
    facts = asyncio.run(_facts(options, trigger))
    folder: Path = options.write or options.out
    if options.write is None:
        workspace = options.workspace or Path(".fibreflow") / "tickets"
        folder = folder or workspace / f"issue-{trigger.number}"
        outcome = _work(options, trigger, workspace, folder, facts)
        print(f"{outcome}: see {folder}" if outcome else "nothing to do: its draft is there")
        if options.out is not None or not outcome:
            return 0
    account = asyncio.run(_write(options, trigger, folder, facts))
    print(f"issue {account.number}: {account.outcome}")
    return 0


@dataclass(frozen=True, slots=True)
class _Facts:
    """What GitHub says where no flag does: the login of the token, and where pull requests go."""

    author: str
    target: str


async def _facts(options: argparse.Namespace, trigger: Trigger) -> _Facts:
    from harness.tickets.github import opened  # noqa: PLC0415 - the gate does without

    async with opened(trigger.repo, options.token, options.api) as github:
        author = options.author or await github.login()
        if options.target or options.out is not None:  # who only works does not need it
            return _Facts(author, options.target or "")
        about = await github.get("", "read the repository")
    return _Facts(author, str(about["default_branch"]))


def _work(
    options: argparse.Namespace, trigger: Trigger, workspace: Path, folder: Path, facts: _Facts
) -> "Outcome | None":
    from harness import app, sandboxes  # noqa: PLC0415 - only this part needs all of it
    from harness.models.endpoints import live_model  # noqa: PLC0415
    from harness.tickets.work import Place, work  # noqa: PLC0415

    place = Place(
        options.checkout, workspace, folder, options.api, options.token,
        options.base, options.sandbox or sandboxes.default(), trusted=options.event is None,
        connect=live_model, server=options.server, author=facts.author,
    )  # fmt: skip
    made = work(trigger, place, app.start)
    return made.outcome if made else None


async def _write(
    options: argparse.Namespace, trigger: Trigger, folder: Path, facts: _Facts
) -> "Account":
    from harness.tickets.github import opened  # noqa: PLC0415
    from harness.tickets.writing import Desk, write  # noqa: PLC0415

    async with opened(trigger.repo, options.token, options.api) as github:
        settled = await asking.settle(github, trigger)
    desk = Desk(
        trigger.repo, settled.number, options.checkout, options.api, options.token,
        options.remote or f"{options.server}/{trigger.repo}.git", facts.target, facts.author,
        options.run_url,
    )  # fmt: skip
    return await write(folder, desk)


if __name__ == "__main__":
    raise SystemExit(main())
