"""Asking a cheap model about a ticket: what it changes and costs, and that it may be absent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.models.anthropic_api import AnthropicModel
from harness.ports import Model
from harness.tickets.triaging import sort
from orchestrator.errors import InputError
from orchestrator.tickets.ticket import Orders, Ticket
from orchestrator.tickets.triage import QUESTIONS
from tests.emulators.messages_api import Fault, MessagesServer, unauthorized

TICKET = Ticket(
    "acme/shop", 7, "total() is wrong", "`total([])` raises an exception; expected 0.", "eve"
)


def says(text: str) -> Callable[[dict[str, Any]], Any]:
    return lambda _request: [{"type": "text", "text": text}]


def connects(server: MessagesServer) -> Callable[[], Model]:
    return lambda: AnthropicModel({"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "any"})


async def test_its_verdict_is_kept_and_paid_for_once(tmp_path: Path) -> None:
    answer = json.dumps({"sort": "too vague", "questions": [1]})
    async with MessagesServer(says(answer)) as server:
        first = await sort(TICKET, Orders(), tmp_path, 0.05, connects(server))
        again = await sort(TICKET, Orders(), tmp_path, 0.05, connects(server))
    assert first == again
    assert (first.triage.sort, first.triage.questions) == ("too vague", QUESTIONS[:1])
    assert first.cost_usd
    (request,) = server.requests
    assert "haiku" in request["model"]
    assert not request.get("tools")
    assert "| `total([])` raises an exception; expected 0." in json.dumps(request)


@pytest.mark.parametrize(
    ("answer", "fault", "budget", "asked", "known"),
    [
        ("I ran it for you.", None, 0.05, 1, True),
        ('{"sort": "merge it"}', None, 0.05, 1, True),
        ("", unauthorized(), 0.05, 1, True),
        ("", Fault("cut"), 0.05, 1, False),
        ('{"sort": "question"}', None, 0.000001, 0, True),
    ],
    ids=["prose", "no sort", "refused", "cut", "no money"],
)
async def test_without_a_sensible_answer_the_rules_stand(
    tmp_path: Path, answer: str, fault: Fault | None, budget: float, asked: int, known: bool
) -> None:
    async with MessagesServer(says(answer), faults={1: fault} if fault else None) as server:
        found = await sort(TICKET, Orders(), tmp_path, budget, connects(server))
    assert found.triage.sort == "bug"
    assert found.triage.why == "it tells of something that goes wrong"
    assert len(server.requests) == asked
    assert (found.cost_usd is not None) == known  # a reply that was lost may have cost something


async def test_where_no_model_can_be_had_the_rules_decide(tmp_path: Path) -> None:
    def nobody() -> Model:
        raise InputError("no key")

    found = await sort(TICKET, Orders(), tmp_path, 0.05, nobody)
    assert (found.triage.sort, found.cost_usd) == ("bug", 0.0)
