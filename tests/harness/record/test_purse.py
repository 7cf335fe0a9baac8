"""What the agent's loop spends: reserved and settled under every scope, waited for, told of."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agents.loop import BuiltinAgent
from harness.record.budget import BudgetBook, RunPurse
from orchestrator import events
from orchestrator.errors import (
    LimitReachedError,
    ModelOverloadedError,
    ModelTimeoutError,
    ModelUnreachableError,
)
from orchestrator.values import AttemptKey, AttemptLimits
from tests.harness.agents.workbench import (
    FEATURE,
    KEY,
    FolderSandbox,
    ScriptModel,
    Seen,
    StepClock,
    bash,
    submit,
    task,
)


class Bench:
    """An attempt whose model costs money."""

    def __init__(self, tmp_path: Path, book: BudgetBook, *answers, run_usd=None, cost=0.1) -> None:
        self.folder = tmp_path
        self.clock = StepClock()
        self.purse = RunPurse(book, self.clock, run="R", run_usd=run_usd, patience=3)
        self.model = ScriptModel(*answers, worst=0.3, cost=cost)

    async def work(self, key: AttemptKey = KEY, usd: float | None = None, feature=FEATURE):
        agent = BuiltinAgent(self.model, self.clock, purse=self.purse, jitter=lambda: 0.0)
        limits = AttemptLimits(turns=50, seconds=600, usd=usd)
        assignment = task(self.folder / key.name, key=key, limits=limits, feature=feature)
        return await agent.work(assignment, FolderSandbox(self.folder / "work"), Seen().observer())


async def test_each_call_is_reserved_and_settled_under_every_scope(tmp_path, book):
    done = await Bench(tmp_path, book, [bash("true")], [submit()]).work()
    assert done.cost_usd == pytest.approx(0.2)
    for scope in ("run R", "feature R/greet", "attempt R/greet/r1-a01"):
        assert (book.spent(scope), book.held(scope)) == (pytest.approx(0.2), 0.0)


async def test_an_attempts_own_budget_is_its_ending(tmp_path, book):
    done = await Bench(tmp_path, book, [bash("true")]).work(usd=0.55)
    assert (done.ending, done.turns) == ("limit", 3)  # .2 + .3 fits under .55, .3 + .3 does not
    assert "attempt R/greet/r1-a01" in done.reason


async def test_a_features_budget_ends_its_attempts_and_not_the_run(tmp_path, book):
    feature = replace(FEATURE, budget_usd=0.55)
    done = await Bench(tmp_path, book, [bash("true")]).work(feature=feature)
    assert (done.ending, done.turns) == ("limit", 3)
    assert "feature R/greet" in done.reason


async def test_the_runs_budget_is_raised(tmp_path, book):
    bench = Bench(tmp_path, book, [bash("true")], run_usd=0.55)
    with pytest.raises(LimitReachedError, match="run R is used up"):
        await bench.work()
    assert book.spent("run R") == pytest.approx(0.3) and book.held("run R") == 0


async def test_a_lost_reply_keeps_its_reservation_and_a_refused_call_does_not(tmp_path, book):
    answers = [ModelTimeoutError("cut"), ModelOverloadedError("529"), [submit()]]
    done = await Bench(tmp_path, book, *answers).work()
    assert done.ending == "submitted" and done.cost_usd is None
    assert book.spent("run R") == pytest.approx(0.1)
    assert book.held("run R") == pytest.approx(0.3)


async def test_what_was_lost_is_told_for_each_call_and_its_number_stays(tmp_path, book):
    """Also of calls whose asker was killed, at the next start, and of a cancelled one."""
    heard: list[events.Event] = []
    purse = RunPurse(book, StepClock(), run="R", note=heard.append)
    caps = {"feature_usd": None, "attempt_usd": None}
    await purse.reserve(KEY, "t1", 0.3, **caps)
    purse.book("sandbox e2b 17", 0.2)
    await purse.reserve(KEY, "t2", None, **caps)
    book.reserve([("run other", None)], "other/f/r1-a01/t1", 0.4)
    await purse.settle(KEY, "t2", None)
    RunPurse(book, StepClock(), run="R", note=heard.append).take_over()
    lost = {event.key: (str(event.reserved_usd), event.attempt) for event in heard}
    assert sorted(lost.values()) == [("0.3", "r1-a01"), ("None", "r1-a01")]
    assert len(heard) == 3  # told twice of one, under one key
    await purse.reserve(KEY, "t1", 0.1, **caps)
    await purse.settle(KEY, "t1", 0.1)
    purse.take_over()
    assert {event.key for event in heard} == lost.keys()


async def test_what_was_never_asked_costs_nothing_and_that_is_known(tmp_path, book):
    done = await Bench(tmp_path, book, *[ModelUnreachableError("x")] * 9, [submit()]).work()
    assert done.ending == "submitted" and done.cost_usd == pytest.approx(0.1)
    assert book.spent("run R") == pytest.approx(0.1) and book.held("run R") == 0


async def test_an_attempt_waits_for_calls_in_flight(tmp_path, book):
    """Another attempt holds what this one needs, and then turns out cheap."""
    book.reserve([("run R", None)], "other", 0.4)
    bench = Bench(tmp_path, book, [submit()], run_usd=0.5)

    class Settling(StepClock):
        async def sleep(self, seconds: float) -> None:
            book.settle("other", 0.01)
            await super().sleep(seconds)

    bench.clock = Settling()
    bench.purse = RunPurse(book, bench.clock, run="R", run_usd=0.5)
    done = await bench.work()
    assert done.ending == "submitted" and done.seconds == 0
    assert book.spent("run R") == pytest.approx(0.11)


async def test_waiting_for_money_ends(tmp_path, book):
    book.reserve([("run R", None)], "other", 0.4)
    with pytest.raises(LimitReachedError, match="in flight"):
        await Bench(tmp_path, book, [submit()], run_usd=0.5).work()


async def test_many_attempts_at_once_never_overshoot(tmp_path, book):
    async def one(number: int) -> None:
        bench = Bench(tmp_path / str(number), book, [bash("true")], run_usd=2.0)
        with contextlib.suppress(LimitReachedError):
            await bench.work(AttemptKey("greet", 1, number))
        assert book.spent("run R") + book.held("run R") <= 2.0

    await asyncio.gather(*(one(number) for number in range(1, 9)))
    assert book.spent("run R") > 1.5 and book.held("run R") == 0


async def test_a_reply_on_disk_that_was_not_paid_for_is_paid_on_resume(tmp_path, book):
    """Killed between writing the reply down and settling it."""
    purse = Bench(tmp_path, book).purse
    first = Bench(tmp_path, book, [bash("true")], LimitReachedError("stop here"))
    with pytest.raises(LimitReachedError):
        await first.work()
    held = ("run R", None), ("attempt R/greet/r1-a01", None)
    book._db.execute("DELETE FROM entries")
    await asyncio.to_thread(book.reserve, held, "R/greet/r1-a01/t1", 0.3)
    again = Bench(tmp_path, book, [submit()])
    again.purse = purse
    assert (await again.work()).turns == 2
    assert (book.spent("run R"), book.held("run R")) == (pytest.approx(0.2), 0.0)


async def test_four_fifths_of_a_cap_are_told_once(tmp_path, book):
    bench, heard = Bench(tmp_path, book, *[[bash(f"true {n}")] for n in range(7)], [submit()]), []
    bench.purse = RunPurse(
        book, bench.clock, run="R", run_usd=1.0, month_usd=9.0, note=heard.append
    )
    assert (await bench.work()).ending == "submitted"
    (low,) = heard
    assert isinstance(low, events.BudgetLow)
    assert (low.scope, low.cap_usd, low.spent_usd) == ("run R", 1.0, pytest.approx(0.8))


async def test_a_month_is_capped_over_all_its_runs_and_the_next_begins_anew(tmp_path, book):
    for run, fits in (("A", True), ("B", False)):
        purse = RunPurse(book, StepClock(), run=run, month_usd=1.0)
        refused = await purse.reserve(KEY, "t1", 0.6, feature_usd=None, attempt_usd=None)
        assert (refused is None) == fits
        await purse.settle(KEY, "t1", 0.6)
    assert refused is not None and refused.scope == "month 1970-01"
    assert (await purse.left("greet", None))[0] == pytest.approx(0.4)
    later = StepClock()
    later.time += 31 * 86_400
    purse = RunPurse(book, later, run="C", month_usd=1.0)
    assert await purse.reserve(KEY, "t1", 0.6, feature_usd=None, attempt_usd=None) is None


async def test_who_waits_for_money_when_the_month_ends_has_the_next_ones(book):
    clock = StepClock()
    clock.time = 31 * 86_400 - 2.5
    for run in ("A", "B"):  # what A holds may come back, so that B waits
        purse = RunPurse(book, clock, run=run, month_usd=1.0)
        assert await purse.reserve(KEY, "t1", 0.6, feature_usd=None, attempt_usd=None) is None
    assert (book.held("month 1970-01"), book.held("month 1970-02")) == (0.6, 0.6)
