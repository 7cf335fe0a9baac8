"""From a ticket to an artifact: triage, the feature list, the run, and what came of it.

It holds no token that can write and asks GitHub for nothing but to read.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from harness.cli.flags import RunOptions
from harness.git import open_repository
from harness.tickets import artifact, asking, intake
from harness.tickets.artifact import HandOver
from harness.tickets.case import Case, Place, options
from harness.tickets.github import opened
from harness.tickets.outcome import Result, outcome
from harness.tickets.settings import read_settings
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
from orchestrator.tickets.links import MOST_TEXT
from orchestrator.tickets.ticket import Trigger
from orchestrator.tickets.triage import triage

#: Runs a feature list and gives the exit code of `fibreflow run`; `harness.app.start` for real.
Start = Callable[[RunOptions], int]

#: With less no attempt comes to an end.
_LEAST_USD = 0.01


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
    made = _not_begun(case)
    result = Result(made) if made else _rounds(case, place, start)
    place.noted("judged")
    took = {"seconds": round(time.monotonic() - began, 3)}
    made = result.made.model_copy(update=took)
    artifact.store(place.out, made, result.patch)
    place.noted("stored")
    return made


def _rounds(case: Case, place: Place, start: Start) -> Result:
    """A bug whose draft shows no bug gets one more round, which knows the draft; where that shows
    none either, the first is as good."""
    first = _run(case, place, start)
    if not _wants_another(case, first):
        return first
    draft = first.patch.decode(errors="replace")[:MOST_TEXT]
    again = replace(
        case, ticket=replace(case.ticket, draft=draft), cost_usd=first.made.cost_usd,
        lacking=first.proof.lacking,
    )  # fmt: skip
    second = _run(again, place, start)
    if second.proof.shown:
        name = {"attempt": f"again/{second.made.attempt}"}
        return replace(second, made=second.made.model_copy(update=name))
    vain = "a further round brought no test that fails without the change either"
    told = {"cost_usd": second.made.cost_usd, "unverified": (*first.made.unverified, vain)}
    return replace(first, made=first.made.model_copy(update=told))


def _run(case: Case, place: Place, start: Start) -> Result:
    flags = options(case, place)
    place.noted("listed")
    code = start(flags)
    place.noted("run")
    return asyncio.run(outcome(case, place, code))


def _wants_another(case: Case, first: Result) -> bool:
    """Where our proof can be had, that is of Python's tests, and money and a round are left."""
    changed = (line for line in first.patch.split(b"\n") if line.startswith(b"+++ "))
    provable = case.bug and any(line.rstrip(b"\t\r").endswith(b".py") for line in changed)
    lacks = bool(first.proof.lacking) and not first.proof.shown
    return provable and lacks and case.settings.rounds > 1 and _affords(case, first.made)


def _affords(case: Case, spent: HandOver) -> bool:
    return spent.cost_usd is not None and case.budget_usd - spent.cost_usd >= _LEAST_USD


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


async def _look(trigger: Trigger, place: Place) -> Case | None:
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
    case = Case(ticket, settled, triage(ticket, settled.orders), settings, base)
    if _known(case):
        return None
    if place.connect is None:
        return case
    folder, funds = place.workspace / case.digest, min(case.budget_usd, TRIAGE_USD)
    made = await sort(ticket, settled.orders, folder, funds, place.connect)
    return replace(case, triage=made.triage, cost_usd=made.cost_usd)


def _known(case: Case) -> bool:
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


def _not_begun(case: Case) -> HandOver | None:
    if case.triage.begins:
        return None
    outcome: Outcome = "asks" if case.triage.questions else "declined"
    return case.hand_over(
        outcome, reasons=(case.triage.why,), questions=case.triage.questions,
        cost_usd=case.cost_usd,
    )  # fmt: skip
