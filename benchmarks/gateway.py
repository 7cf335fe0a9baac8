#!/usr/bin/env python3
"""What the gateway makes of a provider's limit and cache: the real SDK, a server with both.

    python benchmarks/gateway.py [--seconds 40] [--json]

A local Messages API server with a token bucket (600 requests a minute, 20 at once) that halves
its rate half-way, and a prompt cache with the documented rules. 4 features with 15 attempts
each ask for turn after turn through one gateway until the time is over. The figures: replies
against what the bucket let through meanwhile, attempts lost, the spread between the features,
and how many of 15 first questions read the cache. `--json` prints one object, last.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # from a fresh checkout, not installed

from harness.models.anthropic_api import AnthropicModel  # noqa: E402
from harness.models.gateway import Caps, Gateway  # noqa: E402
from harness.models.retries import patiently  # noqa: E402
from harness.ports import ModelRequest  # noqa: E402
from harness.record.clock import SystemClock  # noqa: E402
from orchestrator import events  # noqa: E402
from orchestrator.values import AttemptKey  # noqa: E402
from tests.emulators.messages_api import MessagesServer  # noqa: E402
from tests.emulators.prompt_cache import PromptCache  # noqa: E402
from tests.emulators.rate_limits import TokenBucket  # noqa: E402

FEATURES, ATTEMPTS = 4, 15
PER_MINUTE, BURST = 600, 20
LATENCY = (0.3, 2.0)  # seconds of one reply


class Load:
    """What was asked and answered."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.answered: Counter[str] = Counter()
        self.first_reads = 0
        self.lost = 0
        self.over = False

    async def attempt(self, feature: str, number: int) -> None:
        turn = 1
        while not self.over:
            try:
                await self.ask(feature, number, turn)
            except Exception as error:  # noqa: BLE001 - counted, whatever it is
                self.lost += 1
                print(f"lost: {feature} {number}: {error}", file=sys.stderr)
                return
            turn += 1

    async def ask(self, feature: str, number: int, turn: int) -> None:
        clock = SystemClock()
        asked = question(feature, number, turn)

        async def once() -> Any:
            async with self.gateway.call(asked, Caps(), lambda _: None) as call:
                return await call.reply()

        reply = await patiently(
            once, sleep=clock.sleep, jitter=random.random, retried=lambda *_: None
        )
        self.answered[feature] += 1
        if turn == 1 and reply.usage is not None and reply.usage.cache_read > 0:
            self.first_reads += 1


def question(feature: str, number: int, turn: int) -> ModelRequest:
    shared = {"type": "text", "text": f"{feature}: " + "A repository. " * 700}
    own = {"type": "text", "text": f"attempt {number}, turn {turn}"}
    message = {
        "role": "user",
        "content": [{**shared, "cache_control": {"type": "ephemeral"}}, own],
    }
    key = AttemptKey(feature, 1, number)
    return ModelRequest(key, turn, "claude-haiku-5-5", (), (), (message,), max_tokens=100)


async def measure(seconds: float) -> dict[str, Any]:
    bucket = TokenBucket(PER_MINUTE, time.monotonic, burst=BURST)
    cache = PromptCache(time.monotonic)
    rng = random.Random(1)

    async def think(_request: dict[str, Any]) -> None:
        await asyncio.sleep(rng.uniform(*LATENCY))

    said = [{"type": "text", "text": "ok"}]
    async with MessagesServer(lambda _: said, bucket=bucket, cache=cache,
                              respond_after=think) as server:  # fmt: skip
        model = AnthropicModel({"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k"})
        changes: list[events.Event] = []
        load = Load(Gateway(model, SystemClock(), note=changes.append))
        tasks = [
            asyncio.create_task(load.attempt(f"f{feature}", number))
            for feature in range(FEATURES)
            for number in range(1, ATTEMPTS + 1)
        ]
        await asyncio.sleep(seconds / 2)
        bucket.change(PER_MINUTE / 2)
        await asyncio.sleep(seconds / 2)
        # What was let through and not yet answered is as good as used.
        taken, allowed, refused = bucket.taken, bucket.settle(), bucket.refused
        load.over = True
        await asyncio.wait(tasks, timeout=120)  # each ends with the answer to its last question
        await load.gateway.close()
    counts = load.answered.values()
    return {
        "seconds": seconds,
        "allowed": round(allowed, 1),
        "used": taken,
        "throughput": round(taken / allowed, 4),
        "refused": refused,
        "limit_changes": len(changes),
        "lost": load.lost,
        "fairness_min_over_max": round(min(counts) / max(counts), 4),
        "first_questions": FEATURES * ATTEMPTS,
        "first_questions_reading_the_cache": load.first_reads,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = asyncio.run(measure(args.seconds))
    if args.json:
        print(json.dumps(found))
        return 0
    for name, value in found.items():
        print(f"{name.replace('_', ' '):36} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
