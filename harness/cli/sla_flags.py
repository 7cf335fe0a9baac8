"""The words of `fibreflow sla`, and what `run` takes about data that is not fresh."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli import flag_values
from orchestrator.sla.gate import POLICIES


@dataclass(frozen=True, slots=True)
class SlaOptions:
    """`fibreflow sla WORD`. `ports`: of the status page and the health endpoint."""

    word: str
    file: Path | None = None
    sla: str | None = None
    days: float = 1.0
    ports: tuple[int, int] | None = None
    reason: str = ""
    json: bool = False


def add(sub: argparse.ArgumentParser, parser_class: type[argparse.ArgumentParser]) -> None:
    words = sub.add_subparsers(
        dest="word", metavar="WORD", required=True, parser_class=parser_class
    )
    shared = parser_class(add_help=False)
    shared.add_argument("--file", type=Path, metavar="FILE", help="default: data_layer_slas.yaml")
    # Suppressed, so that its absence here does not undo one given before the word.
    shared.add_argument("--workspace", type=Path, metavar="DIR", default=argparse.SUPPRESS)
    as_json = parser_class(add_help=False)
    as_json.add_argument("--json", action="store_true", help="one JSON object instead of text")
    name = parser_class(add_help=False)
    name.add_argument("sla", nargs="?", metavar="SLA", help="default: all")
    words.add_parser("check", parents=[shared, as_json, name], help="measure once; 1: violated")
    watch = words.add_parser("watch", parents=[shared], help="measure and alert until stopped")
    watch.add_argument(
        "--ports",
        type=flag_values.number(0, 65535),
        nargs=2,
        metavar=("PAGE", "HEALTH"),
        help="0: any free",
    )
    history = words.add_parser("history", parents=[shared, as_json, name], help="what was measured")
    history.add_argument(
        "--days", type=flag_values.days, default=1.0, metavar="N", help="default: 1"
    )
    words.add_parser("report", parents=[shared, as_json], help="compliance, budget, burn rate")
    override = words.add_parser("override", parents=[shared], help="let the run that holds go on")
    override.add_argument(
        "--reason", required=True, type=flag_values.reason, help="why; it is kept"
    )


def options(args: argparse.Namespace) -> SlaOptions:
    return SlaOptions(
        word=args.word,
        file=args.file,
        sla=getattr(args, "sla", None),
        days=getattr(args, "days", 1.0),
        ports=tuple(args.ports) if getattr(args, "ports", None) else None,
        reason=getattr(args, "reason", ""),
        json=getattr(args, "json", False),
    )


def add_to_run(sub: argparse.ArgumentParser) -> None:
    """The arguments of `run` about data that is not fresh."""
    add = sub.add_argument
    add(
        "--sla-policy",
        choices=POLICIES,
        default="hold",
        help="what stale data does to the work that an SLA gates (default: hold until it is fresh)",
    )
    add(
        "--sla-wait",
        type=flag_values.minutes,
        default=60.0,
        metavar="MINUTES",
        help="the longest hold; what still has no fresh data then is refused (default: 60)",
    )
    add(
        "--sla-override",
        type=flag_values.reason,
        metavar="REASON",
        help="begin although data is stale; the reason is kept in the report",
    )


def of_run(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `run` that are declared here."""
    return {
        "sla_policy": args.sla_policy,
        "sla_wait_minutes": args.sla_wait,
        "sla_override": args.sla_override or "",
    }
