"""The command line: its words, their meaning, and nothing of what they do."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from harness import __version__
from harness.cli import control_flags, deploy_flags, flag_values, fleet_flags, plan_flags, sla_flags
from harness.cli.cost_flags import CostOptions, add_costs, cost_options
from harness.cli.deploy_flags import DeployOptions
from harness.cli.learn_flags import LearnOptions, add_learn, learn_options
from harness.cli.skill_flags import SkillOptions, add_skill, skill_options
from orchestrator.errors import InputError
from orchestrator.sla.gate import Policy
from orchestrator.values import TIERS, Tier

COMMANDS = (
    "run",
    "status",
    "report",
    "resume",
    "list",
    "accept",
    "reject",
    "sandbox",
    "doctor",
    "sla",
    "costs",
    "learn",
    "skill",
    "deploy",
    "approvals",
    *control_flags.COMMANDS,
    *fleet_flags.COMMANDS,
)
#: Commands whose arguments are given on as they are.
_WORDS = ("reject", *control_flags.COMMANDS, *fleet_flags.COMMANDS)
_EXIT_CODES = """\
exit codes:
  0  every feature is merged      3  a person must decide (see `fibreflow accept`)
  1  some features failed         4  a budget or another limit was reached
  2  bad input                    5  this machine or its key cannot do it (see the
                                     message; `fibreflow doctor`)
  130  stopped by Ctrl-C; the same command goes on where it stopped
"""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The flags of `run`; None means "as the feature list says"."""

    workspace: Path
    features: Path
    repo: Path | None = None
    autopilot: bool = False
    attempts: int | None = None
    exactly: bool = False
    rounds: int | None = None
    workers: int | None = None
    agent: str | None = None
    tier: Tier | None = None
    only: tuple[str, ...] = ()
    budget_usd: float | None = None
    month_usd: float | None = None
    sandbox: str = "local"  # empty: what this machine has, see harness.sandboxes.default
    live: bool = False
    record: Path | None = None
    dry_run: bool = False
    sla_policy: Policy = "hold"
    sla_wait_minutes: float = 60.0
    sla_override: str = ""
    wait: bool = False
    screen: Literal["live", "plain", "json", "quiet"] | None = None
    detach: bool = False
    until: str | None = None
    not_before: str | None = None
    quiet_hours: str | None = None
    goal: str = ""
    plan_only: bool = False
    approve_plan: bool = False
    commit_documents: bool = False
    planned: str = ""  # the run that planning began


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """The words after `sandbox`. `command` empty: a shell."""

    action: str
    command: tuple[str, ...] = ()
    provider: str = ""  # what this machine has
    profile: str = "standard"
    repo: Path | None = None
    setup: str | None = None
    allow: tuple[str, ...] = ()
    namespace: str | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One parsed command line; `run` is set for `run`, the rest for the other commands."""

    name: str
    workspace: Path
    run: RunOptions | None = None
    run_id: str | None = None
    feature: str | None = None
    attempt: str | None = None
    json: bool = False
    watch: bool = False
    sandbox: SandboxOptions | None = None
    sla: sla_flags.SlaOptions | None = None
    costs: CostOptions | None = None
    learn: LearnOptions | None = None
    skill: SkillOptions | None = None
    deploy: DeployOptions | None = None
    words: Mapping[str, Any] = field(default_factory=dict)


class _Parser(argparse.ArgumentParser):
    """Raises `InputError` where argparse would print and leave, so that one place reports it."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def parse(argv: list[str]) -> Command:
    """Raises `InputError` for a bad command line; `SystemExit(0)` after --help and --version."""
    if not argv or argv[0].startswith("-"):
        argv = ["run", *argv] if not _asks_about_itself(argv) else argv
    args = _parser().parse_args(argv)
    workspace: Path = args.workspace or _workspace_of(args)
    return Command(
        name=args.command or "run",
        workspace=workspace,
        run=_run_options(args, workspace) if args.command == "run" else None,
        run_id=getattr(args, "run_id", None),
        feature=getattr(args, "feature", None),
        attempt=getattr(args, "attempt", None),
        json=getattr(args, "json", False),
        watch=getattr(args, "watch", False),
        sandbox=_sandbox_options(args) if args.command == "sandbox" else None,
        sla=sla_flags.options(args) if args.command == "sla" else None,
        costs=cost_options(args) if args.command == "costs" else None,
        learn=learn_options(args) if args.command == "learn" else None,
        skill=skill_options(args) if args.command == "skill" else None,
        deploy=deploy_flags.options(args) if args.command in {"deploy", "approvals"} else None,
        words=vars(args) if args.command in _WORDS else {},
    )


def _sandbox_options(args: argparse.Namespace) -> SandboxOptions:
    given = vars(args)
    allow = tuple(given.pop("allow", None) or ())
    command = tuple(word for word in given.pop("inside", ()))
    names = ("action", "provider", "profile", "repo", "setup", "namespace", "json")
    kept = {name: given[name] for name in names if name in given}
    return SandboxOptions(**kept, allow=allow, command=command)


def _asks_about_itself(argv: list[str]) -> bool:
    return bool(argv) and argv[0] in {"-h", "--help", "--version"}


def _workspace_of(args: argparse.Namespace) -> Path:
    features: Path | None = getattr(args, "features", None)
    return features.parent if features else Path()


def _run_options(args: argparse.Namespace, workspace: Path) -> RunOptions:
    return RunOptions(
        workspace=workspace,
        features=args.features or workspace / "feature_list.json",
        repo=args.repo,
        attempts=args.attempts,
        exactly=args.exactly,
        rounds=args.rounds,
        workers=args.workers,
        agent=args.agent,
        tier=args.model,
        only=tuple(dict.fromkeys(args.only or ())),
        budget_usd=args.budget,
        month_usd=args.budget_month,
        sandbox=args.sandbox,
        live=args.live,
        record=args.record,
        dry_run=args.dry_run,
        wait=args.wait,
        screen="json" if args.json else "plain" if args.plain else None,
        **sla_flags.of_run(args),
        **control_flags.of_run(args),
        **plan_flags.of_run(args),
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fibreflow",
        description="A feature list becomes merged, independently verified features.",
        epilog="`fibreflow --autopilot` is `fibreflow run --autopilot`.\n\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fibreflow {__version__}")
    parser.set_defaults(workspace=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _add_run(_command(commands, "run", "work on a feature list until it is merged"))
    for name, what in (
        ("status", "where a run stands, alive or not"),
        ("report", "what a run merged, from which attempt, and why"),
        ("resume", "continue the newest run that was stopped, or RUN"),
    ):
        sub = _command(commands, name, what)
        sub.add_argument("run_id", nargs="?", metavar="RUN", help="default: the newest")
        sub.add_argument("--json", action="store_true", help="one JSON object instead of text")
        if name == "status":
            sub.add_argument("--watch", action="store_true", help="again and again, until its end")
    _command(commands, "list", "the runs of this workspace").add_argument(
        "--json", action="store_true", help="one JSON array instead of text"
    )
    for name, what in (
        ("accept", "decide a review: merge this attempt of a feature"),
        ("reject", "decide a review: not this attempt; the next ones are told why"),
    ):
        sub = _command(commands, name, what)
        sub.add_argument("feature", metavar="FEATURE")
        sub.add_argument("attempt", metavar="ATTEMPT", help="such as r1-a02")
        sub.add_argument("--run", dest="run_id", metavar="RUN", help="default: the newest")
        if name == "reject":
            sub.add_argument("--reason", required=True, type=deploy_flags.reason, help="why")
    for name, what in control_flags.COMMANDS.items():
        control_flags.add(_command(commands, name, what), name)
    for name, what in fleet_flags.COMMANDS.items():
        fleet_flags.add(_command(commands, name, what), name)
    _add_sandbox(_command(commands, "sandbox", "open a sandbox, list those there are, remove old"))
    sla_flags.add(
        _command(commands, "sla", "data-layer SLAs: measure, watch, look back, override"), _Parser
    )
    add_costs(_command(commands, "costs", "what the model calls have cost, and what else might"))
    add_learn(_command(commands, "learn", "what failures taught; a look back"), _Parser)
    add_skill(_command(commands, "skill", "scripts that do a job without any model"), _Parser)
    deploy_flags.add_deploy(_command(commands, "deploy", "deploy what is merged, or go on with it"))
    deploy_flags.add_approvals(
        _command(commands, "approvals", "what waits for a person; approve or reject")
    )
    _command(commands, "doctor", "what this machine can isolate and limit, and what it lacks")
    return parser


def _command(
    commands: "argparse._SubParsersAction[_Parser]", name: str, what: str
) -> argparse.ArgumentParser:
    sub = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=_EXIT_CODES if name in {"run", "resume"} else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sub.add_argument(
        "--workspace",
        type=Path,
        metavar="DIR",
        help="folder with feature_list.json and logs/ (default: that of --features, or here)",
    )
    return sub


def _add_run(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    plan_flags.add_to_run(sub)
    add("--repo", type=Path, metavar="PATH", help="git repository to build (default: project.repo)")
    add("--features", type=Path, metavar="FILE", help="the feature list")
    add("--attempts", type=flag_values.number(1, 100), metavar="N", help="per round of a feature")
    add(
        "--rounds",
        type=flag_values.number(1, 20),
        metavar="N",
        help="rounds before a feature has failed",
    )
    add("--workers", type=flag_values.number(1, 1000), metavar="N", help="attempts at work at once")
    add("--exactly", action="store_true", help="start all attempts at once, not in waves")
    add("--agent", metavar="NAME", help="the agent that works on the features")
    add("--model", choices=TIERS, help="this tier for every attempt; no escalation")
    add("--only", action="append", metavar="ID", help="only this feature; may be repeated")
    add("--budget", type=flag_values.money, metavar="USD", help="the most this run may cost")
    add(
        "--budget-month",
        type=flag_values.money,
        metavar="USD",
        help="the most that all runs of this workspace may cost in a calendar month (UTC)",
    )
    add(
        "--sandbox",
        default="",
        metavar="NAME",
        help="local (default), docker, podman (default where they alone isolate), e2b (cloud), "
        "or process (NO isolation)",
    )
    add("--live", action="store_true", help="ask real models even where a recording is given")
    add("--record", type=Path, metavar="DIR", help="write what models say as a recording")
    control_flags.add_to_run(sub)
    add("--dry-run", action="store_true", help="print the plan and its worst-case cost")
    sla_flags.add_to_run(sub)
    add("--wait", action="store_true", help="stay until the approvals it needs are given")
    screens = sub.add_mutually_exclusive_group()
    screens.add_argument(
        "--json", action="store_true", help="events as JSON lines, the report last"
    )
    screens.add_argument("--plain", action="store_true", help="plain lines even on a terminal")


def _add_sandbox(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=_Parser
    )
    run = actions.add_parser(
        "run",
        help="run COMMAND in a new sandbox, with this terminal; its exit code is ours",
        usage="fibreflow sandbox run [options] [-- COMMAND ...]",
        allow_abbrev=False,
    )
    add = run.add_argument
    add("--profile", default="standard", metavar="NAME", help="quick, standard, heavy, install")
    add("--repo", type=Path, metavar="PATH", help="look into its commit HEAD (default: nothing)")
    add("--setup", metavar="COMMAND", help="prepare the base by this first; kept for next time")
    add("--allow", action="append", metavar="HOST", help="may be reached; *.HOST, HOST:PORT, *")
    add("inside", nargs="*", metavar="COMMAND", help="default: a shell")
    listing = actions.add_parser("list", help="the sandboxes there are", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="one JSON array instead of text")
    reap = actions.add_parser("reap", help="remove what nobody uses", allow_abbrev=False)
    reap.add_argument(
        "namespace", nargs="?", metavar="RUN", help="all of this run; default: the old of all"
    )
    for action in (run, listing, reap):
        action.add_argument("--sandbox", dest="provider", default="", metavar="NAME")
