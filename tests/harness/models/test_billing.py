"""Whatever a server does and whoever is killed: what it bills never passes the cap, and is what
was settled plus what is kept reserved. `FIBREFLOW_BILLING_ROUNDS` makes it more than one round."""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.models import prices
from harness.record.budget import BudgetBook
from orchestrator.values import Usage
from tests.emulators import messages_api as api
from tests.emulators.messages_api import MessagesServer

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = int(os.environ.get("FIBREFLOW_BILLING_ROUNDS", "1"))
ATTEMPTS, TURNS = 50, 2
UNKNOWN = "mystery-1"


class Adversary:
    """Bills as much as a request allows, for replies that are lost too, and names models that
    nobody knows; about half of its answers go wrong in some way."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.billed_unseen = 0.0  # for connections that it dropped without a word

    def respond(self, asked: dict[str, Any]) -> dict[str, Any]:
        size = len(json.dumps([asked["system"], asked["tools"], asked["messages"]]).encode())
        usage = {
            "input_tokens": self._rng.choice([1, size // 4, size]),
            "output_tokens": self._rng.choice([1, 500, asked["max_tokens"]]),
            "cache_creation_input_tokens": self._rng.choice([0, 0, 1_500]),
        }
        model = self._rng.choices([asked["model"], UNKNOWN], [9, 1])[0]
        return {"content": [{"type": "text", "text": "ok"}], "usage": usage, "model": model}

    def fault(self, _number: int, asked: dict[str, Any]) -> api.Fault | None:
        fault = self._rng.choices(
            [None, api.cut(), api.drop(), api.garbage(), api.error_event(), api.overloaded(),
             api.rate_limited(0.01)],
            [12, 1, 1, 1, 1, 1, 2],
        )[0]  # fmt: skip
        if fault is not None and fault.kind == "drop":
            self.billed_unseen += price(asked, self.respond(asked)["usage"])
        return fault


def price(asked: dict[str, Any], usage: dict[str, int]) -> float:
    counted = Usage(
        usage["input_tokens"],
        usage["output_tokens"],
        usage.get("cache_read_input_tokens", 0),
        usage["cache_creation_input_tokens"],
    )
    cost = prices.cost_usd(asked["model"], counted)
    assert cost is not None
    return cost


async def spender(server: MessagesServer, book: Path, cap: float) -> asyncio.subprocess.Process:
    words = ["-m", "tests.harness.models.spender", book, cap, ATTEMPTS, TURNS]
    env = {**os.environ, "ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "any"}
    return await asyncio.create_subprocess_exec(
        sys.executable, *map(str, words), cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.long
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_what_is_billed_is_below_the_cap_and_in_the_book(tmp_path, seed):
    rng = random.Random(f"cap {seed}")
    cap = 10 ** rng.uniform(-2.5, -0.5)  # all that is asked for would be some 10 cents
    kills = rng.randrange(2) if seed else 1
    adversary = Adversary(seed)
    book_path = tmp_path / "budget.sqlite"
    async with MessagesServer(adversary.respond, faults=adversary.fault) as server:
        for _ in range(kills):
            process = await spender(server, book_path, cap)
            for _ in range(rng.randrange(1, 12)):
                await process.stdout.readline()
            process.kill()
            await process.communicate()
        process = await spender(server, book_path, cap)  # the resume
        async with asyncio.timeout(120):
            await process.communicate()
        assert process.returncode == 0 and server.errors == []
        billed = adversary.billed_unseen + sum(price(*one) for one in server.begun)
        whole = [
            price(asked, usage)
            for asked, usage, model in zip(
                server.answered, server.usages, server.models, strict=True
            )
            if model != UNKNOWN
        ]
    book = BudgetBook(book_path)
    spent, kept = book.spent("run R"), book.held("run R")
    in_flight = book.balance("run R").held
    book.close()
    assert billed <= cap
    assert spent + kept <= cap + 1e-9
    assert in_flight == 0
    assert spent > 0 and kept > 0
    # Every reply that came whole is settled at its price; a kill may have come in between.
    if kills:
        assert spent <= sum(whole) + 1e-9
    else:
        assert spent == pytest.approx(sum(whole), abs=1e-6)
    assert spent - 1e-6 <= billed <= spent + kept + 1e-9
