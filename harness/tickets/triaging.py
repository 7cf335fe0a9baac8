"""Sorts a ticket: by rules, then by a cheap model where they leave it open, once and on file."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.ports import Model, ModelRequest
from harness.record import files
from harness.record.clock import SystemClock
from orchestrator.errors import FibreFlowError, LimitReachedError, ModelError
from orchestrator.tickets import triage_by_model
from orchestrator.tickets.ticket import Orders, Ticket
from orchestrator.tickets.triage import Triage, triage
from orchestrator.values import AttemptKey

#: The most that sorting one ticket may cost; one call of the cheapest tier takes far less.
TRIAGE_USD = 0.05
_FILE = "triage.json"
_SECONDS = 60.0
_MAX_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Sorted:
    """The verdict and what it cost in dollars, None when nobody knows."""

    triage: Triage
    cost_usd: float | None = 0.0


async def sort(
    ticket: Ticket, given: Orders, folder: Path, budget_usd: float, connect: Callable[[], Model]
) -> Sorted:
    """A model that cannot be had, answers nothing sensible or costs too much changes nothing.
    `folder` keeps the verdict, so that the same work is not paid for twice."""
    found = triage(ticket, given)
    if not triage_by_model.asks(found):
        return Sorted(found)
    path = folder / _FILE
    known = _load(path)
    if known is not None:
        return known
    try:
        model = connect()
    except FibreFlowError:  # the run itself will say what is missing
        return Sorted(found)
    said, cost = await _asked(model, ticket, given, folder, budget_usd)
    made = Sorted(triage_by_model.read(said, found) or found, cost)
    files.replace_json(path, asdict(made))
    return made


async def _asked(
    model: Model, ticket: Ticket, given: Orders, folder: Path, budget_usd: float
) -> tuple[str, float | None]:
    """The answer, empty when there is none, and its cost."""
    from harness.models.gateway import Caps, Gateway  # noqa: PLC0415 - most tickets do without
    from harness.record.budget import BudgetBook, RunPurse  # noqa: PLC0415

    clock = SystemClock()
    book = BudgetBook(folder / "triage.sqlite")
    gateway = Gateway(model, clock, purse=RunPurse(book, clock, run="triage", run_usd=budget_usd))
    cost: float | None = 0.0
    try:
        request = _request(gateway.model_id("haiku"), ticket, given)
        async with (
            asyncio.timeout(_SECONDS),
            gateway.call(request, Caps(), lambda _waited: None) as call,
        ):
            try:
                reply = await call.reply()
            finally:
                cost = None if call.lost else 0.0
    except (ModelError, LimitReachedError, TimeoutError):
        return "", cost
    finally:
        await gateway.close()
        book.close()
    said = "".join(str(b.get("text", "")) for b in reply.content if b.get("type") == "text")
    return said, reply.cost_usd


def _request(model: str, ticket: Ticket, given: Orders) -> ModelRequest:
    text = triage_by_model.prompt(ticket, given)
    return ModelRequest(
        key=AttemptKey(f"issue-{ticket.number}", 1, 1),
        turn=0,  # none of an attempt's own, which count from 1
        model=model,
        system=({"type": "text", "text": triage_by_model.system()},),
        tools=(),
        messages=({"role": "user", "content": [{"type": "text", "text": text}]},),
        max_tokens=_MAX_TOKENS,
    )


def _load(path: Path) -> Sorted | None:
    """What an earlier start came to; None when there is nothing, or nothing that can be read."""
    try:
        data = json.loads(path.read_bytes())
        made = Triage(**{**data["triage"], "questions": tuple(data["triage"]["questions"])})
        return Sorted(made, data["cost_usd"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
