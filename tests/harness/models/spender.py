"""Fifty attempts at once that spend a run's money: `python spender.py BOOK CAP ATTEMPTS TURNS`.

A program of its own, so that it can be killed. Prints `paid` after every settled reply.
"""

import asyncio
import contextlib
import random
import sys
from pathlib import Path

from harness.models.anthropic_api import AnthropicModel
from harness.models.gateway import Caps, Gateway
from harness.models.retries import patiently
from harness.ports import ModelReply, ModelRequest
from harness.record.budget import BudgetBook, RunPurse
from harness.record.clock import SystemClock
from orchestrator.errors import FibreFlowError
from orchestrator.values import AttemptKey


def question(number: int, turn: int) -> ModelRequest:
    text = {"type": "text", "text": f"attempt {number} turn {turn} " + "x" * 500}
    message = {"role": "user", "content": [text]}
    key = AttemptKey("f", 1, number)
    return ModelRequest(key, turn, "claude-haiku-5-5", (), (), (message,), max_tokens=2_000)


async def attempt(gateway: Gateway, number: int, turns: int) -> None:
    async def soon(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))

    for turn in range(1, turns + 1):

        async def ask(turn: int = turn) -> ModelReply:
            asked = question(number, turn)
            async with gateway.call(asked, Caps(), lambda _: None) as call:
                return await call.reply()

        try:
            await patiently(ask, sleep=soon, jitter=random.random, retried=lambda *_: None)
        except FibreFlowError:
            return  # refused for want of money, or all patience is gone
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write("paid\n")
            sys.stdout.flush()


async def main(book_path: str, cap: str, attempts: str, turns: str) -> None:
    book = BudgetBook(Path(book_path))
    purse = RunPurse(book, SystemClock(), run="R", run_usd=float(cap), patience=20)
    book.abandon(purse.scope)
    gateway = Gateway(AnthropicModel(), SystemClock(), purse=purse)
    await asyncio.gather(*(attempt(gateway, n, int(turns)) for n in range(1, int(attempts) + 1)))
    await gateway.close()
    book.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
