"""The gate: running work ends, new work waits, and what gave up does not hold the exit up."""

import asyncio

import pytest

from harness.stop import Stop


async def test_every_worker_may_give_up() -> None:
    """The second once left the drain waiting for ever."""
    stop = Stop()
    both = asyncio.Barrier(2)

    async def give_up() -> None:
        async with stop.work():
            await both.wait()
        stop.request("the key was refused", 5)
        await stop.hold()

    tasks = [asyncio.create_task(give_up()) for _ in range(2)]
    async with asyncio.timeout(30):
        await stop.drained()
    assert (stop.reason, stop.exit_code) == ("the key was refused", 5)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.gather(*tasks)


async def test_new_work_waits_and_begun_work_goes_on() -> None:
    stop = Stop()
    seen: list[str] = []

    async def new() -> None:
        async with stop.work():
            seen.append("new")

    assert stop.request("first", 130)
    assert not stop.request("second", 4)
    waiting = asyncio.create_task(new())
    async with stop.work(begun=True):
        seen.append("begun")
    async with asyncio.timeout(30):
        await stop.drained()
    assert seen == ["begun"]
    assert stop.exit_code == 130
    waiting.cancel()


async def test_the_money_is_spent_when_what_works_with_it_has_ended() -> None:
    stop = Stop()
    spent = asyncio.create_task(stop.spent("a"))
    async with stop.work():
        assert stop.request("the budget is used up", 4, spent=True)
        await asyncio.sleep(0)
        assert not spent.done()
    async with asyncio.timeout(30):
        await spent


async def test_the_money_may_end_while_it_drains_for_something_else() -> None:
    stop = Stop()
    assert stop.request("interrupted", 130)
    assert not stop.request("the budget is used up", 4, spent=True)
    async with asyncio.timeout(30):
        await stop.spent("a")
    assert stop.exit_code == 130


async def test_what_ended_is_chosen_and_merged_before_a_drain_is_complete() -> None:
    """However long the feature takes to hear of it: no time is long enough on a busy machine."""
    stop = Stop()
    async with stop.work():
        stop.request("the budget is used up", 4, spent=True)
        stop.hand_over("a")
    drained = asyncio.create_task(stop.drained())
    await stop.spent("b")
    stop.settle("a")
    await asyncio.sleep(0)
    assert not drained.done()
    stop.settle("b")
    async with asyncio.timeout(30):
        await drained


async def test_a_wait_within_work_holds_no_drain_up() -> None:
    stop = Stop()
    waits = asyncio.Event()

    async def ask() -> None:
        async with stop.work():
            with stop.idle():
                await waits.wait()
            await asyncio.sleep(0)

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    assert stop.request("Ctrl-C", 130)
    async with asyncio.timeout(30):
        await stop.drained()
    assert not asking.done()
    # Whoever comes back from its wait in time is at work again.
    waits.set()
    await asking
