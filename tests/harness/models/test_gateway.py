"""One call through the gateway: its turn, its money, what a refusal does to the others; and many
attempts at once against a provider that limits and caches by the real rules."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.agents.loop import BuiltinAgent
from harness.models.anthropic_api import AnthropicModel
from harness.models.gateway import Caps, Gateway, OwnBudgetError
from harness.models.retries import patiently
from harness.ports import ModelReply, ModelRequest
from orchestrator import errors as e
from orchestrator import events
from orchestrator.values import AttemptKey, AttemptLimits, Feature, Usage
from tests.emulators.messages_api import MessagesServer
from tests.emulators.prompt_cache import PromptCache
from tests.emulators.rate_limits import TokenBucket
from tests.fakes.clock import VirtualClock
from tests.harness.agents.workbench import (
    FolderSandbox,
    ScriptModel,
    Seen,
    bash,
    submit,
    task,
)


def question(feature: str = "f", number: int = 1, turn: int = 1) -> ModelRequest:
    message = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
    return ModelRequest(AttemptKey(feature, 1, number), turn, "m", (), (), (message,))


class Till:
    """A purse that only writes down."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []

    async def reserve(self, key, call, worst, *, feature_usd, attempt_usd):
        self.said.append(("reserve", worst))

    async def settle(self, key, call, actual):
        self.said.append(("settle", actual))

    async def release(self, key, call):
        self.said.append(("release", call))


class Trickling(ScriptModel):
    async def reply(self, request):
        await asyncio.Event().wait()


NO_CAPS = Caps()


async def asked(gateway: Gateway, caps: Caps = NO_CAPS) -> ModelReply:
    async with gateway.call(question(), caps, lambda _: None) as call:
        return await call.reply()


@pytest.mark.parametrize(
    ("answer", "settled"),
    [
        ([submit()], ("settle", 0.1)),
        (e.ModelTimeoutError("cut"), ("settle", None)),
        (e.ModelMalformedError("not JSON"), ("settle", None)),
        (e.ModelOverloadedError("529"), ("release", "t1")),
        (e.ModelOverloadedError("529", reply_begun=True), ("settle", None)),
        (e.ModelRateLimitedError("429"), ("release", "t1")),
        (e.ModelUnreachableError("refused"), ("release", "t1")),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_money_is_settled_kept_or_given_back_by_what_came_of_the_call(answer, settled):
    till = Till()
    gateway = Gateway(ScriptModel(answer, worst=0.3, cost=0.1), VirtualClock(), purse=till)
    if isinstance(answer, e.ModelError):
        with pytest.raises(type(answer)):
            await asked(gateway)
    else:
        await asked(gateway)
    assert till.said == [("reserve", 0.3), settled]
    await gateway.close()


async def test_a_call_that_is_cancelled_may_have_been_charged():
    till = Till()

    call = asyncio.create_task(asked(Gateway(Trickling(worst=0.3), VirtualClock(), purse=till)))
    while not till.said:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert till.said == [("reserve", 0.3), ("settle", None)]


async def test_what_costs_nothing_reserves_nothing():
    till = Till()
    await asked(Gateway(ScriptModel([submit()], worst=0.0), VirtualClock(), purse=till))
    assert till.said == []


async def test_without_a_purse_the_attempts_cap_is_held_here():
    gateway = Gateway(ScriptModel([submit()], worst=0.3), VirtualClock())
    await asked(gateway, Caps(attempt_usd=1.0, spent_usd=0.7))
    with pytest.raises(OwnBudgetError):
        await asked(gateway, Caps(attempt_usd=1.0, spent_usd=0.71))
    with pytest.raises(OwnBudgetError):
        await asked(gateway, Caps(attempt_usd=1.0, spent_usd=None))


async def test_a_quota_pauses_everybody_and_says_until_when():
    clock, heard = VirtualClock(), []
    spent = e.ModelQuotaExhaustedError("window used up", retry_after=5 * 3600)
    gateway = Gateway(ScriptModel(spent, [submit()]), clock, note=heard.append)
    with pytest.raises(e.ModelQuotaExhaustedError):
        await asked(gateway)
    began = clock.now()
    await clock.run(asked(gateway))
    assert clock.now() - began == pytest.approx(5 * 3600)
    (said,) = heard
    assert isinstance(said, events.LimitChanged)
    assert (said.why, said.pause, said.limit) == ("the quota is used up", 18_000, 8)
    assert said.until == "2027-01-15T13:00:00.000Z"


async def test_a_reply_that_never_ends_is_a_timeout_of_unknown_cost():
    till = Till()
    gateway = Gateway(Trickling(worst=0.3), VirtualClock(), purse=till, call_seconds=0.01)
    with pytest.raises(e.ModelTimeoutError, match="not complete"):
        await asked(gateway)
    assert till.said == [("reserve", 0.3), ("settle", None)]


async def test_a_bill_above_what_was_asked_for_is_booked_and_said_once():
    heard, till = [], Till()
    model = ScriptModel([submit()], [submit()], worst=0.3, cost=0.4)
    gateway = Gateway(model, VirtualClock(), purse=till, note=heard.append)
    await asked(gateway)
    await asked(gateway)
    assert till.said == [("reserve", 0.3), ("settle", 0.4)] * 2
    (said,) = heard
    assert isinstance(said, events.WarningGiven) and "$0.4000" in said.message


async def test_waiting_for_a_turn_is_told_to_who_waits():
    clock, waited = VirtualClock(), []
    limited = e.ModelRateLimitedError("429", retry_after=30)
    gateway = Gateway(ScriptModel(limited, [submit()]), clock)
    with pytest.raises(e.ModelRateLimitedError):
        await asked(gateway)

    async def again():
        async with gateway.call(question(), Caps(), waited.append) as call:
            await call.reply()

    await clock.run(again())
    assert waited == [pytest.approx(30)]


# ---------------------------------------------------------- a provider with a bucket


class Limited(ScriptModel):
    """Takes `seconds` for a reply and lets no more through than its bucket does."""

    def __init__(self, clock: VirtualClock, bucket: TokenBucket, seconds: float) -> None:
        super().__init__([submit()], worst=0.0)
        self.clock, self.bucket, self.seconds = clock, bucket, seconds
        self.rng = random.Random(2)

    async def reply(self, request):
        self.requests.append(request)
        wait = self.bucket.take()
        if wait is not None:
            raise e.ModelRateLimitedError("429", retry_after=wait)
        await self.clock.sleep(self.seconds * self.rng.uniform(0.5, 1.5))
        return ModelReply((submit(),), "tool_use", "m", Usage(10, 5), 0.0)


@pytest.mark.parametrize("seconds", [0.5, 20.0])
async def test_many_attempts_use_the_bucket_up_lose_nobody_and_share_it_fairly(seconds):
    """Virtual time: 4 features x 15 attempts x 12 turns, and the rate is halved on the way."""
    clock = VirtualClock()
    bucket = TokenBucket(120, clock.monotonic, burst=20)
    model = Limited(clock, bucket, seconds)
    gateway, rng = Gateway(model, clock), random.Random(1)
    done: list[tuple[float, str]] = []

    async def attempt(feature: str, number: int) -> None:
        for turn in range(1, 13):

            async def ask(turn: int = turn) -> ModelReply:
                asked = question(feature, number, turn)
                async with gateway.call(asked, Caps(), lambda _: None) as call:
                    return await call.reply()

            await patiently(ask, sleep=clock.sleep, jitter=rng.random, retried=lambda *_: None)
            done.append((clock.now(), feature))
            if len(done) == 360:
                bucket.change(60)

    async def all_of_them() -> None:
        await asyncio.gather(*(attempt(f, n) for f in "abcd" for n in range(1, 16)))

    await clock.run(all_of_them())
    assert len(done) == bucket.taken == 720
    half = Counter(feature for _, feature in done[:360])
    assert max(half.values()) - min(half.values()) <= 18
    # Until the last attempts, which are too few to fill it.
    busy = [moment for moment, _ in done[:700]]
    assert len(busy) >= 0.9 * _allowed(bucket, done[0][0], done[359][0], busy[-1])
    await gateway.close()


def _allowed(bucket: TokenBucket, began: float, halved: float, ended: float) -> float:
    return bucket.burst + (halved - began) * 2.0 + (ended - halved) * 1.0


# ----------------------------------------------------- a provider with a cache, over a socket

BIG = "A repository. " * 700


def builder(request: dict) -> list[dict]:
    """Looks once, then submits."""
    block = dict(bash("true") if len(request["messages"]) == 1 else submit())
    del block["id"]
    return [block]


async def attempts_at(server: MessagesServer, folder: Path, count: int, features: str = "f"):
    """`count` attempts at each feature, at once, through one gateway; their results."""
    model = AnthropicModel({"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k"})
    clock = _RealClock()
    heard: list[events.Event] = []
    gateway = Gateway(model, clock, note=heard.append)
    agent = BuiltinAgent(model, clock, gateway=gateway, jitter=lambda: 0.0)

    async def one(feature: str, number: int):
        key = AttemptKey(feature, 1, number)
        place = folder / feature / key.name
        given = task(
            place / "log",
            key=key,
            feature=Feature(id=feature, description=f"{feature}: {BIG}"),
            limits=AttemptLimits(turns=9, seconds=600),
        )
        return await agent.work(given, FolderSandbox(place / "work"), Seen().observer())

    try:
        return await asyncio.gather(*(one(f, n) for f in features for n in range(1, count + 1)))
    finally:
        await gateway.close()


class _RealClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)


async def test_fourteen_of_fifteen_attempts_read_what_the_first_has_written(tmp_path):
    cache = PromptCache(time.monotonic)
    async with MessagesServer(builder, cache=cache) as server:
        done = await attempts_at(server, tmp_path, 15)
        assert server.errors == []
    assert [result.ending for result in done] == ["submitted"] * 15
    first = [
        usage
        for request, usage in zip(server.answered, server.usages, strict=True)
        if len(request["messages"]) == 1
    ]
    written = sum(usage["cache_creation_input_tokens"] > 1024 for usage in first)
    read = sum(usage["cache_read_input_tokens"] > 1024 for usage in first)
    assert (written, read) == (1, 14)
    assert all(result.usage.cache_read > 2048 for result in done[1:])


async def test_no_attempt_is_lost_to_a_bucket_on_a_socket(tmp_path):
    bucket = TokenBucket(60 * 40, time.monotonic, burst=4)
    async with MessagesServer(builder, bucket=bucket) as server:
        done = await attempts_at(server, tmp_path, 8, features="ab")
        assert server.errors == []
    assert [result.ending for result in done] == ["submitted"] * 16
    assert bucket.taken == 32 and bucket.refused > 0
