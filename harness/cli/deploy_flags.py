"""The command line of deployments and approvals: its words, and nothing of what they do."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli import flag_values


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """`fibreflow deploy WORD` and `fibreflow approvals WORD`. `id`: of an approval."""

    word: str
    id: str = ""
    reason: str = ""
    wait: bool = False
    anew: bool = False
    json: bool = False
    person: str = ""
    hours: float = 24.0
    port: int = 8890
    quiet: tuple[int, int] | None = None


def options(args: argparse.Namespace) -> DeployOptions:
    names = ("id", "reason", "wait", "anew", "json", "person", "hours", "port", "quiet")
    given = ((name, getattr(args, name, None)) for name in names)
    kept: dict[str, Any] = {
        n: tuple(v) if isinstance(v, list) else v for n, v in given if v is not None
    }
    return DeployOptions(word=args.word or "go", **kept)


def _words(
    sub: argparse.ArgumentParser, *, required: bool
) -> Callable[..., argparse.ArgumentParser]:
    words = sub.add_subparsers(
        dest="word", metavar="WORD", required=required, parser_class=argparse.ArgumentParser
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--workspace", type=Path, metavar="DIR", default=argparse.SUPPRESS)

    def add(name: str, what: str) -> argparse.ArgumentParser:
        return words.add_parser(name, parents=[shared], help=what, allow_abbrev=False)

    return add


def add_deploy(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--wait", action="store_true", help="stay until it is approved and live")
    sub.add_argument("--anew", action="store_true", help="also a commit that was refused before")
    sub.add_argument("--sla-override", dest="reason", type=reason, metavar="REASON")
    sub.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add = _words(sub, required=False)
    add("status", "the deployments of this workspace").add_argument("--json", action="store_true")
    add("down", "end the services of staging and production")


def add_approvals(sub: argparse.ArgumentParser) -> None:
    add = _words(sub, required=True)
    add("list", "all that were asked for").add_argument("--json", action="store_true")
    show = add("show", "what is to be approved, and why it needs a person")
    show.add_argument("--json", action="store_true")
    approve = add("approve", "promote it to production")
    reject = add("reject", "do not; the reason is told to the next round")
    going = add("continue", "go on with what was answered, where no process has")
    going.add_argument("--plain", action="store_true", help="plain lines, no live screen")
    link = add("link", "a signed link to the web inbox, for one person: the list, or one request")
    link.add_argument("--as", dest="person", required=True, metavar="NAME", help="whose it is")
    link.add_argument(
        "--hours", type=flag_values.hours, default=24.0, help="how long it opens (default: 24)"
    )
    serve = add("serve", "the web inbox, and Slack where SLACK_BOT_TOKEN is set")
    serve.add_argument(
        "--quiet",
        nargs=2,
        type=flag_values.number(0, 24),
        metavar=("FROM", "TO"),
        help="hours without news: 22 7",
    )
    for word in (link, serve):
        word.add_argument(
            "--port",
            type=flag_values.number(0, 65535),
            default=8890,
            help="on loopback (default: 8890)",
        )
    for word in (show, approve, reject):
        word.add_argument("id", metavar="ID")
    link.add_argument("id", metavar="ID", nargs="?", help="the request; without it, the list")
    reject.add_argument("--reason", required=True, type=reason, help="why; the work knows it")


def reason(text: str) -> str:
    """Raises `argparse.ArgumentTypeError` for an empty one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("give a reason; it is kept")
    return text.strip()
