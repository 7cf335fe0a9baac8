"""What is known of a change before it is promoted: the input of the risk table."""

import json
import re
import shlex
from collections.abc import Sequence

from harness.deploy.breaking import breaking
from harness.git import Repository
from harness.ports import Sandbox
from harness.record.journal import all_events, read_events
from harness.record.workspace import Workspace
from orchestrator import events
from orchestrator.approval import Change, Level
from orchestrator.reporting import report
from orchestrator.reporting.report import FeatureReport
from orchestrator.runs import state

#: ruff's security rules that are rarely wrong and bad when right; the others are hints.
_HIGH = re.compile(r"S(102|105|106|107|307|501|506|602|604|605|609)$")
_MEDIUM = re.compile(r"S(301|302|310|311|324|608)$")
_SCAN = (
    "ruff check --isolated --no-cache --ignore-noqa --exit-zero --output-format json "
    "--select S --ignore S101 --exclude 'tests,test_*.py,*_test.py' . 2>/dev/null"
)
_LEAK = (
    "-----BEGIN [A-Z ]*PRIVATE KEY-----|AKIA[0-9A-Z]{16}|xox[bap]-[0-9A-Za-z-]{20,}"
    "|gh[pousr]_[0-9A-Za-z]{36}|sk-ant-[0-9A-Za-z_-]{30,}"
)
_LOOK = "grep -rIlE --exclude-dir=.git -e {} . | head -20"


async def scan(sandbox: Sandbox) -> tuple[tuple[Level, str], ...] | None:
    """Findings in the tree of the sandbox; None when it could not be scanned."""
    found = await sandbox.exec(_SCAN, timeout=300, limit=16_000_000)
    try:
        rows = json.loads(found.out)
        findings = [(_level(r["code"]), f"{r['code']} {_place(sandbox, r)}") for r in rows]
    except (ValueError, KeyError, TypeError):
        return None
    leaks = await sandbox.exec(_LOOK.format(shlex.quote(_LEAK)), timeout=300)
    findings += [("critical", f"a secret in {name}") for name in leaks.text.split("\n") if name]
    return tuple(findings)


def _level(code: str) -> Level:
    return "high" if _HIGH.match(code) else "medium" if _MEDIUM.match(code) else "low"


def _place(sandbox: Sandbox, row: dict[str, object]) -> str:
    name = str(row["filename"]).removeprefix(sandbox.workdir).lstrip("/")
    return f"{name}: {row['message']}"


def merged(workspace: Workspace, integrated: Sequence[str]) -> dict[str, FeatureReport]:
    """The newest account of each integrated feature, from the run that merged it."""
    found: dict[str, FeatureReport] = {}
    for run in workspace.runs():
        if set(found) >= set(integrated):
            break
        for feature in report.build(state.fold(read_events(run.events))).features:
            if feature.state == "merged" and feature.id in integrated:
                found.setdefault(feature.id, feature)
    return found


async def change(  # noqa: PLR0913 - each from another source
    workspace: Workspace,
    repository: Repository,
    integrated: Sequence[str],
    *,
    span: tuple[str, str],
    findings: tuple[tuple[Level, str], ...] | None,
    left_out: int,
    rejected: bool,
) -> Change:
    """`span`: the commit that is live, empty for none, and the one to promote. The rest as in
    `Change`."""
    accounts = merged(workspace, integrated)
    known = [accounts.get(i) for i in integrated]
    live, new = span
    paths = await _differing(repository, live, new)
    return Change(
        confidence=_lowest([a.confidence if a else None for a in known]),
        consensus=_lowest([a.consensus if a else None for a in known]),
        findings=findings,
        paths=paths,
        breaking=await breaking(repository, live, new),
        cost_usd=_sum([a.cost_usd if a else None for a in known]),
        by_hand=sum(bool(a and a.accepted_by) for a in known),
        left_out=left_out,
        rejected=rejected,
        stale_data=any(isinstance(e, events.DataOverridden) for e in all_events(workspace)),
    )


async def _differing(repository: Repository, live: str, new: str) -> tuple[str, ...] | None:
    """Files that differ; all of them when nothing is live; None for a live commit that is not
    known here."""
    if not live:
        return await repository.files(new)
    if await repository.commit_of(live) is None:
        return None
    out = await repository.git("diff", "--name-only", "-z", "--no-renames", live, new)
    return tuple(p for p in out.split("\0") if p)


def _lowest(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return min(known) if len(known) == len(values) and known else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None
