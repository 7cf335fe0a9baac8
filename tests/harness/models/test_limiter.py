"""The limit grows with answers, shrinks once per 429, and its turns are shared fairly."""

import asyncio
import contextlib
from collections import Counter

import pytest

from harness.models.limiter import Limiter
from tests.fakes.clock import VirtualClock


class Bench:
    """A limiter, and callers that hold their turns until they are told to go."""

    def __init__(self, start: float = 4.0) -> None:
        self.clock = VirtualClock()
        self.changes: list[tuple[int, str, float]] = []
        self.limiter = Limiter(
            self.clock, changed=lambda *facts: self.changes.append(facts), start=start
        )
        self.flying: list[str] = []
        self.go = asyncio.Event()

    async def call(self, who: str, *, retry_after: float | None = None, fails: bool = False):
        async with self.limiter.turn(who) as turn:
            self.flying.append(who)
            await self.go.wait()
            if retry_after is not None:
                turn.limited(retry_after)
            elif not fails:
                turn.answered()

    async def full_round(self) -> None:
        """As many calls as may fly at once, in the air together."""
        self.go.clear()
        tasks = self.begin(*"a" * self.limiter.limit)
        await settle()
        self.go.set()
        await asyncio.gather(*tasks)

    def begin(self, *who: str, **how) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.call(name, **how)) for name in who]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_fly_than_the_limit_allows():
    bench = Bench(start=3)
    tasks = bench.begin(*"aaaaa")
    await settle()
    assert bench.limiter.in_flight == len(bench.flying) == 3
    bench.go.set()
    await asyncio.gather(*tasks)
    assert (len(bench.flying), bench.limiter.in_flight) == (5, 0)


async def test_it_doubles_until_the_first_429_and_then_grows_by_one_each_round():
    bench = Bench(start=4)
    bench.go.set()
    await bench.full_round()
    assert bench.limiter.limit == 8
    await bench.clock.run(_all(bench.begin("a", retry_after=0.0)))
    assert bench.limiter.limit == 6
    for _ in range(3):
        await bench.full_round()
    assert 8 <= bench.limiter.limit <= 9
    grown = bench.limiter.limit
    for _ in range(50):
        await asyncio.gather(*bench.begin("a"))  # alone, the limit is not what binds
    assert bench.limiter.limit == grown


async def test_calls_in_the_air_together_are_one_sign():
    bench = Bench(start=10)
    tasks = bench.begin(*"a" * 10, retry_after=0.0)
    await settle()
    bench.go.set()
    await bench.clock.run(_all(tasks))
    assert bench.limiter.limit == 8
    assert [c[:2] for c in bench.changes] == [(8, "429: too many requests")]


async def test_a_failing_provider_leaves_the_limit_as_it_is():
    bench = Bench(start=10)
    bench.go.set()
    await asyncio.gather(*bench.begin(*"a" * 10, fails=True))
    assert bench.limiter.limit == 10 and bench.changes == []


async def test_it_never_falls_below_one_call():
    bench = Bench(start=2)
    bench.go.set()
    for _ in range(10):
        await bench.clock.run(_all(bench.begin("a", retry_after=1.0)))
    assert bench.limiter.limit == 1


async def test_after_a_429_nobody_is_let_in_before_the_provider_said():
    bench = Bench()
    bench.go.set()
    began = bench.clock.now()
    await bench.clock.run(_all(bench.begin("a", retry_after=30.0)))
    await bench.clock.run(_all(bench.begin("b")))
    assert bench.clock.now() - began == pytest.approx(30)
    assert bench.changes[0][2] == 30


@pytest.mark.parametrize(("said", "held"), [(12.0, 12), (1e9, 60)])
async def test_an_answer_that_says_the_limit_is_used_up_holds_the_others(said, held):
    bench = Bench()
    async with bench.limiter.turn("a") as turn:
        turn.answered(said)
    began = bench.clock.now()
    bench.go.set()
    await bench.clock.run(_all(bench.begin("b")))
    assert bench.clock.now() - began == pytest.approx(held)
    assert [c[1] for c in bench.changes] == ["a limit is used up"]


async def test_turns_go_to_the_feature_with_the_fewest_in_flight():
    bench = Bench(start=4)
    tasks = bench.begin(*"a" * 12)
    await settle()
    tasks += bench.begin(*"bbbb", *"cccc")
    bench.go.set()
    await asyncio.gather(*tasks)
    # The four that flew first are all of a; then b and c come before a's rest.
    assert bench.flying[:4] == ["a"] * 4
    assert Counter(bench.flying[4:13])["a"] <= 3
    assert Counter(bench.flying) == {"a": 12, "b": 4, "c": 4}


async def test_who_gives_up_waiting_keeps_no_turn():
    bench = Bench(start=1)
    first, second, third = bench.begin("a", "b", "c")
    await settle()
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second
    bench.go.set()
    await asyncio.gather(first, third)
    assert bench.flying == ["a", "c"] and bench.limiter.in_flight == 0


async def test_who_is_cancelled_at_the_moment_of_his_turn_gives_it_back():
    bench = Bench(start=1)
    first, second = bench.begin("a", "b")
    await settle()
    bench.go.set()
    await first
    second.cancel()  # it was let in, and has not noticed
    with contextlib.suppress(asyncio.CancelledError):
        await second
    assert bench.limiter.in_flight == 0


async def _all(tasks):
    await asyncio.gather(*tasks)
