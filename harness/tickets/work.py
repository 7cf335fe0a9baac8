"""From a ticket to an artifact: triage, the feature list, the run, and what came of it.

It holds no token that can write and asks GitHub for nothing but to read.
"""

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cli.flags import RunOptions
from harness.git import Repository, open_repository
from harness.ports import Model
from harness.record import files
from harness.tickets import artifact, asking, intake
from harness.tickets.artifact import HandOver
from harness.tickets.github import opened
from harness.tickets.proof import Claims, proof
from harness.tickets.settings import TicketSettings, read_settings
from harness.tickets.triaging import TRIAGE_USD, sort
from orchestrator.errors import (
    FibreFlowError,
    InputError,
    MachineError,
    NotPermittedError,
    TicketError,
)
from orchestrator.reporting.wording import one_line
from orchestrator.tickets import comments as ticket_comments
from orchestrator.tickets import ticket as tickets
from orchestrator.tickets.comments import WITH_PATCH, Outcome
from orchestrator.tickets.ticket import Ticket, Trigger
from orchestrator.tickets.triage import Triage, triage

#: Runs a feature list and gives the exit code of `fibreflow run`; `harness.app.start` for real.
Start = Callable[[RunOptions], int]

_ENDS: dict[int, Outcome] = {1: "failed", 2: "unable", 4: "limit", 5: "unable"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where it happens. `checkout`: the repository; `workspace`: kept between runs; `out`: the
    artifact's folder. `trusted`: who asked has been asked about already, at the keyboard.
    `connect`: a model that helps with triage; without one the rules alone decide. `noted` hears of
    every point between two steps. `author`: whom the job that writes does so as."""

    checkout: Path
    workspace: Path
    out: Path
    url: str
    token: str | None = None
    base: str = "HEAD"
    sandbox: str = "local"
    live: bool = True
    trusted: bool = False
    connect: Callable[[], Model] | None = None
    noted: Callable[[str], object] = lambda _point: None
    server: str = intake.SERVER
    author: str = "github-actions[bot]"


@dataclass(frozen=True, slots=True)
class _Case:
    ticket: Ticket
    trigger: Trigger
    triage: Triage
    settings: TicketSettings
    base: str
    cost_usd: float | None = 0.0

    @property
    def digest(self) -> str:
        return tickets.digest(self.ticket, self.trigger.orders, self.base)

    @property
    def text(self) -> str:
        return tickets.fingerprint(self.ticket.title, self.ticket.body)

    @property
    def budget_usd(self) -> float:
        return self.trigger.orders.budget_usd or self.settings.budget_usd

    @property
    def branch(self) -> str:
        return f"fibreflow-work/{self.digest}"


def work(trigger: Trigger, place: Place, start: Start) -> HandOver | None:
    """Leaves the artifact in `place.out`; None and nothing where the draft of this very work is
    there already. Raises `NotPermittedError` when nothing may be done, and whatever cannot begin;
    `place.out` then tells why."""
    try:
        return _work(trigger, place, start)
    except NotPermittedError:
        raise  # a stranger is not answered
    except FibreFlowError as error:
        asyncio.run(_tell(trigger, place, error))
        raise


def _work(trigger: Trigger, place: Place, start: Start) -> HandOver | None:
    began = time.monotonic()
    case = asyncio.run(_look(trigger, place))
    if case is None:
        return None
    place.noted("sorted")
    place.out.mkdir(parents=True, exist_ok=True)
    made, patch = _not_begun(case), b""
    if made is None:
        options = _options(case, place)
        place.noted("listed")
        code = start(options)
        place.noted("run")
        made, patch = asyncio.run(_outcome(case, place, code))
    place.noted("judged")
    made = made.model_copy(update={"seconds": round(time.monotonic() - began, 3)})
    artifact.store(place.out, made, patch)
    place.noted("stored")
    return made


async def _tell(trigger: Trigger, place: Place, error: FibreFlowError) -> None:
    """What went wrong, as an artifact; the machine itself may have, so not at any price."""
    repository = await open_repository(place.checkout)
    base = await repository.commit_of(place.base)
    if base is None:
        return
    number = trigger.number
    with contextlib.suppress(FibreFlowError):
        async with opened(trigger.repo, place.token, place.url) as github:
            number = (await asking.settle(github, trigger)).number
    outcome: Outcome = "unable" if error.exit_code == MachineError.exit_code else "stopped"
    told = HandOver(
        repo=trigger.repo, number=number, base=base, digest="0" * 16, outcome=outcome,
        reasons=(one_line(str(error)),),
    )  # fmt: skip
    place.out.mkdir(parents=True, exist_ok=True)
    artifact.store(place.out, told)


async def _look(trigger: Trigger, place: Place) -> _Case | None:
    repository = await open_repository(place.checkout)
    base = await repository.commit_of(place.base)
    if base is None:
        raise InputError(f"{place.checkout} has no commit {place.base}")
    settings = await read_settings(repository, base)
    async with opened(trigger.repo, place.token, place.url) as github:
        settled = await asking.settle(github, trigger)
        if not place.trusted:
            await asking.permit(github, settled, frozenset(settings.bots))
        if settled.problem:
            raise TicketError(f"the command cannot be followed: {settled.problem}")
        wanted = intake.Wanted(settled.number, place.server, settled.text, place.author)
        ticket = await intake.fetch(github, wanted)
    if not ticket.open:
        raise TicketError(f"#{ticket.number} is closed; reopen it first")
    place.noted("fetched")
    case = _Case(ticket, settled, triage(ticket, settled.orders), settings, base)
    if _known(case):
        return None
    if place.connect is None:
        return case
    folder, funds = place.workspace / case.digest, min(case.budget_usd, TRIAGE_USD)
    made = await sort(ticket, settled.orders, folder, funds, place.connect)
    return replace(case, triage=made.triage, cost_usd=made.cost_usd)


def _known(case: _Case) -> bool:
    """Whether the draft of this very work is there. Raises `TicketError` where a comment on it
    asks for more, and the issue's text is another than the one that was looked at."""
    mark = ticket_comments.mark(case.ticket.status)
    if mark is None or not case.ticket.draft:
        return False
    on_pull = case.trigger.kind in ("comment", "review") and case.trigger.text is None
    if on_pull and mark.text != case.text:
        raise TicketError(
            f"the text of #{case.ticket.number} has changed since the draft was made; read it, "
            f"then comment `{tickets.COMMAND}` on the issue itself"
        )
    return mark.digest == case.digest and mark.outcome in WITH_PATCH


def _hand_over(case: _Case, outcome: Outcome, **more: Any) -> HandOver:
    return HandOver(
        repo=case.ticket.repo, number=case.ticket.number, title=case.ticket.title[:500],
        base=case.base, digest=case.digest, text=case.text, outcome=outcome, **more,
    )  # fmt: skip


def _not_begun(case: _Case) -> HandOver | None:
    if case.triage.begins:
        return None
    outcome: Outcome = "asks" if case.triage.questions else "declined"
    return _hand_over(
        case, outcome, reasons=(case.triage.why,), questions=case.triage.questions,
        cost_usd=case.cost_usd,
    )  # fmt: skip


def _options(case: _Case, place: Place) -> RunOptions:
    """The ticket as a feature list of its own, and the flags to run it with."""
    orders, settings, spent = case.trigger.orders, case.settings, case.cost_usd
    workspace = place.workspace / case.digest
    project = {
        "name": case.ticket.repo, "repo": str(place.checkout.resolve()), "base": case.base,
        "branch": case.branch, "setup": settings.setup, "test": settings.test,
        "protected": settings.protected or None,
    }  # fmt: skip
    body = {
        "version": 1,
        "project": {k: v for k, v in project.items() if v is not None},
        "defaults": {
            "attempts": orders.attempts or settings.attempts, "rounds": settings.rounds,
            "budget_usd": case.budget_usd - (TRIAGE_USD if spent is None else spent),
            "timeout_minutes": settings.timeout_minutes,
        },
        "features": [{
            "id": _feature(case.ticket), "category": case.triage.sort,
            "description": tickets.description(case.ticket, orders, case.triage.sort),
        }],
    }  # fmt: skip
    path = workspace / "feature_list.json"
    if not path.exists():  # else it is the same work, which goes on as it was begun
        files.replace_json(path, body)
    return RunOptions(
        workspace, path, autopilot=True, tier=orders.tier, sandbox=place.sandbox,
        live=place.live, screen="plain",
    )  # fmt: skip


def _feature(ticket: Ticket) -> str:
    return f"issue-{ticket.number}"


async def _outcome(case: _Case, place: Place, code: int) -> tuple[HandOver, bytes]:
    workspace = place.workspace / case.digest
    runs = sorted((workspace / "logs").glob("*/report.json"))
    if not runs:
        return _hand_over(case, _ENDS.get(code, "failed"), reasons=(f"exit code {code}",)), b""
    # The newest that worked on it: a later one may have found it merged already.
    reports = [json.loads(path.read_bytes()) for path in reversed(runs)]
    report = next((r for r in reports if r["features"]), reports[0])
    for name in ("report.md", "report.json"):
        await asyncio.to_thread(shutil.copy, runs[-1].parent / name, place.out / name)
    feature = next((f for f in report["features"] if f["id"] == _feature(case.ticket)), None)
    if feature is None:
        return _hand_over(case, _ENDS.get(code, "failed"), reasons=(f"exit code {code}",)), b""
    repository = await open_repository(place.checkout)
    names = _candidates(case, feature)
    patches = [
        await _patch(case, repository, runs[-1].parent, {**feature, "attempt": n}) for n in names
    ]
    outcome: Outcome = _ENDS.get(code, "failed")
    if feature["state"] in {"merged", "review"}:
        with_patch: Outcome = "patch" if feature["state"] == "merged" else "review"
        outcome = with_patch if patches[0] else "nothing"
    if outcome not in WITH_PATCH:
        return _told(case, outcome, report, feature), b""
    log = place.workspace / case.digest / "proof.log"
    bug = case.triage.sort == "bug"
    claims = Claims(case.digest, place.checkout.resolve(), case.base, patches, bug, log)
    found = await proof(claims, case.settings, place.sandbox)
    made = _told(case, outcome, report, {**feature, **_instead(names, found.index)})
    more = {
        "evidence": (*found.shown, *made.evidence),
        "unverified": (*found.lacking, *made.unverified),
    }
    return made.model_copy(update=more), patches[found.index]


def _candidates(case: _Case, feature: dict[str, Any]) -> list[str]:
    """The attempt that was chosen; for a bug that a person judges, the other usable ones too."""
    first = [feature["attempt"]]
    if case.triage.sort != "bug" or feature["state"] != "review":
        return first
    usable = [a["name"] for a in feature["attempts"] if a["state"] == "unjudged"]
    return [*first, *(name for name in usable if name not in first)]


def _instead(names: Sequence[str], index: int) -> dict[str, Any]:
    """What of a feature's report is otherwise when another attempt is handed over."""
    if index == 0:
        return {}
    why = f"{names[index]}: its test fails without the change; those of {names[0]} show no bug"
    return {"attempt": names[index], "reasons": [why]}


async def _patch(case: _Case, repository: Repository, run: Path, feature: dict[str, Any]) -> bytes:
    """What was merged, or the attempt that a person should look at first."""
    if feature["state"] == "merged" and feature["commit"]:
        # By a file: the bytes of a patch need not be text.
        whole = run / "merged.diff"
        await repository.git(
            "diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv",
            "--no-renames", f"--output={whole.resolve()}", case.base, feature["commit"], "--",
        )  # fmt: skip
        return await asyncio.to_thread(whole.read_bytes)
    if feature["state"] == "review" and feature["attempt"]:
        path = run / feature["id"] / feature["attempt"] / "patch.diff"
        return await asyncio.to_thread(path.read_bytes) if path.is_file() else b""
    return b""


def _told(
    case: _Case, outcome: Outcome, report: dict[str, Any], feature: dict[str, Any]
) -> HandOver:
    chosen = next((a for a in feature["attempts"] if a["name"] == feature["attempt"]), None)
    evidence, unverified = _evidence(case, chosen)
    reasons = [*feature["reasons"], *feature["refusals"], *report["limits"]]
    return _hand_over(
        case, outcome,
        reasons=tuple(str(r)[:500] for r in reasons[:10]), evidence=evidence,
        unverified=unverified, attempt=str(feature["attempt"] or ""),
        cost_usd=_sum(case.cost_usd, report["cost_usd"] if report["cost_complete"] else None),
    )  # fmt: skip


def _sum(*costs: float | None) -> float | None:
    """None when any of it is unknown."""
    known = [cost for cost in costs if cost is not None]
    return round(sum(known), 6) if len(known) == len(costs) else None


def _evidence(
    case: _Case, chosen: dict[str, Any] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if chosen is None:
        return (), ()
    seen, open_ = [], [*chosen["problems"]]
    if chosen["checks"]:
        seen.append(f"{chosen['checks_passed']} of {chosen['checks']} trusted checks passed")
    if case.settings.test:
        seen.append(f"no test of the project ({case.settings.test}) that passed before fails now")
    else:
        open_.append("no test command is set (.github/fibreflow.yaml), so no test was run")
    if chosen["coverage"] is not None:
        seen.append(f"{chosen['coverage']:.0%} of the changed lines are run by tests")
    return tuple(seen), tuple(str(o)[:500] for o in open_)
