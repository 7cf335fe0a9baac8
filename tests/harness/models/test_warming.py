"""One question writes the prefix, the others wait for its reply to begin, and not for ever."""

import asyncio
from dataclasses import replace

import pytest

from harness.models.warming import LEAST, Warming, prefix_key
from harness.ports import ModelRequest
from orchestrator.values import AttemptKey
from tests.fakes.clock import VirtualClock

LONG = "x" * LEAST


def request(number: int = 1, *, feature: str = "f", turn: int = 1, shared: str = LONG):
    marked = {"type": "text", "text": shared, "cache_control": {"type": "ephemeral"}}
    own = {"type": "text", "text": f"attempt {number}"}
    message = {"role": "user", "content": [marked, own]}
    return ModelRequest(AttemptKey(feature, 1, number), turn, "m", (), (), (message,))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_attempts_of_a_feature_share_a_key_and_nothing_else_does():
    key = prefix_key(request(1))
    assert key is not None and key == prefix_key(request(2))
    assert key != prefix_key(request(1, shared=LONG + "y"))
    assert key != prefix_key(replace(request(1), model="other"))
    assert key != prefix_key(replace(request(1), tools=({"name": "t"},)))


@pytest.mark.parametrize(
    "asked",
    [
        request(turn=2),
        request(shared="short"),
        replace(request(), messages=()),
        replace(request(), messages=({"role": "user", "content": [{"type": "text"}]},)),
    ],
    ids=["a later turn", "too little", "no message", "no mark"],
)
async def test_what_cannot_be_shared_waits_for_nobody(asked):
    assert prefix_key(asked) is None
    warming = Warming(VirtualClock())
    for _ in range(2):
        await warming.wait(asked)


async def test_the_others_wait_until_the_first_reply_begins():
    warming = Warming(VirtualClock())
    first = await warming.wait(request(1))
    others = [asyncio.create_task(warming.wait(request(n))) for n in range(2, 16)]
    await settle()
    assert not any(task.done() for task in others)
    first.begun()
    await settle()
    assert all(task.done() for task in others)


async def test_when_the_first_fails_one_other_writes_the_prefix():
    warming = Warming(VirtualClock())
    first = await warming.wait(request(1))
    others = [asyncio.create_task(warming.wait(request(n))) for n in range(2, 6)]
    await settle()
    first.close()
    await settle()
    writers = [task for task in others if task.done()]
    assert len(writers) == 1
    writers[0].result().begun()
    await settle()
    assert all(task.done() for task in others)


async def test_the_wait_is_bounded():
    warming = Warming(VirtualClock(), bound=0.01)
    await warming.wait(request(1))
    await asyncio.wait_for(warming.wait(request(2)), 10)


async def test_a_prefix_that_the_provider_forgot_is_written_again():
    clock = VirtualClock()
    warming = Warming(clock, lifetime=300)
    (await warming.wait(request(1))).begun()
    await clock.run(clock.sleep(299))
    reader = await warming.wait(request(2))
    reader.begun()  # reading keeps it alive
    await clock.run(clock.sleep(299))
    (await warming.wait(request(3))).close()
    await clock.run(clock.sleep(301))
    writer = await warming.wait(request(4))
    waits = asyncio.create_task(warming.wait(request(5)))
    await settle()
    assert not waits.done()
    writer.begun()
    await waits


async def test_a_slow_first_that_ends_late_takes_nothing_from_who_came_after():
    """Its bound went by, another prefix may have taken its place; closing must not fail."""
    clock = VirtualClock()
    warming = Warming(clock, bound=0.01)
    slow = await warming.wait(request(1))
    late = await warming.wait(request(2))
    late.begun()
    slow.close()
    third = await warming.wait(request(3))
    third.close()
