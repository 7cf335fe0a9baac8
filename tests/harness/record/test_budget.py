"""The book never lets reservations exceed a cap, whoever asks at once and whoever is killed."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.agents.loop import BuiltinAgent
from harness.record.budget import BudgetBook, RunPurse
from orchestrator import events
from orchestrator.errors import (
    LimitReachedError,
    MachineError,
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

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def book(tmp_path):
    book = BudgetBook(tmp_path / "budget.sqlite")
    yield book
    book.close()


def test_a_reservation_is_held_then_spent(book):
    assert book.reserve([("run", 1.0)], "k", 0.4) is None
    assert (book.spent("run"), book.held("run")) == (0.0, 0.4)
    book.settle("k", 0.1)
    assert (book.spent("run"), book.held("run")) == (0.1, 0.0)
    book.settle("k", 0.9)
    book.release("k")
    assert (book.spent("run"), book.held("run")) == (0.1, 0.0)


def test_an_unknown_cost_stays_held(book):
    book.reserve([("run", 1.0)], "k", 0.4)
    book.settle("k", None)
    assert (book.spent("run"), book.held("run")) == (0.0, 0.4)
    refused = book.reserve([("run", 1.0)], "l", 0.7)
    assert refused is not None and not refused.temporary


def test_a_release_gives_back(book):
    book.reserve([("run", 1.0)], "k", 0.9)
    book.release("k")
    assert book.held("run") == 0.0


def test_a_call_in_flight_makes_a_refusal_temporary(book):
    book.reserve([("run", 1.0)], "k", 0.9)
    refused = book.reserve([("run", 1.0)], "l", 0.5)
    assert refused is not None and refused.temporary


def test_all_scopes_or_none(book):
    assert book.reserve([("run", 9.0), ("feature", 0.1)], "k", 0.4) is not None
    assert book.held("run") == book.held("feature") == 0.0


def test_a_key_seen_again_keeps_the_lost_reservation_as_unknown(book):
    """Its process died; the call may have been billed, so forgetting it could break the cap."""
    book.reserve([("run", 1.0)], "k", 0.4)
    assert book.reserve([("run", 1.0)], "k", 0.4) is None
    book.settle("k", 0.1)
    assert (book.spent("run"), book.held("run")) == (0.1, 0.4)
    assert book.reserve([("run", 1.0)], "k", 0.51) is not None


def test_an_abandoned_run_makes_nobody_wait(book):
    scopes = [("run a", None), ("month", 1.0)]
    book.reserve(scopes, "k", 0.9)
    assert book.abandon("run a") == 0.9
    refused = book.reserve([("month", 1.0)], "l", 0.5)
    assert refused is not None and not refused.temporary
    assert book.abandon("run a") == 0.0


def test_an_unknown_price_is_refused_under_a_cap_and_free_of_caps_recorded(book):
    assert book.reserve([("run", 5.0)], "k", None) is not None
    assert book.reserve([("run", None)], "k", None) is None
    book.settle("k", None)
    assert (book.spent("run"), book.held("run")) == (0.0, 0.0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "unknown", "release"]),
        st.integers(0, 5),  # which key
        st.integers(0, 60),  # cents, or percent of the reservation
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, cap=st.integers(0, 200))
def test_the_book_agrees_with_a_plain_model_and_never_exceeds_its_cap(tmp_path_factory, steps, cap):
    book = BudgetBook(tmp_path_factory.mktemp("book") / "b.sqlite")
    held: dict[str, int] = {}
    spent = unknown = 0
    for action, number, amount in steps:
        key = f"k{number}"
        if action == "reserve":
            unknown += held.pop(key, 0)
            fits = spent + unknown + sum(held.values()) + amount <= cap
            assert (book.reserve([("s", cap / 100)], key, amount / 100) is None) == fits
            if fits:
                held[key] = amount
        elif key in held:
            reserved = held.pop(key)
            if action == "settle":
                actual = reserved * min(amount, 100) // 100
                book.settle(key, actual / 100)
                spent += actual
            elif action == "unknown":
                book.settle(key, None)
                unknown += reserved
            else:
                book.release(key)
        assert book.spent("s") == pytest.approx(spent / 100)
        assert book.held("s") == pytest.approx((unknown + sum(held.values())) / 100)
        assert spent + unknown + sum(held.values()) <= cap
    book.close()


def test_threads_at_once_never_exceed_the_cap(book):
    def work(number: int) -> float:
        rng, paid = random.Random(number), 0.0
        for turn in range(15):
            key = f"{number}-{turn}"
            if book.reserve([("run", 1.0), (f"a{number}", 0.4)], key, 0.1) is None:
                cost = rng.uniform(0, 0.1)
                book.settle(key, cost)
                paid += cost
        return paid

    with ThreadPoolExecutor(8) as pool:
        paid = sum(pool.map(work, range(8)))
    assert paid <= 1.0 and book.spent("run") == pytest.approx(paid, abs=1e-6)
    assert book.held("run") == 0
    assert sum(book.spent(f"a{n}") for n in range(8)) == pytest.approx(paid, abs=1e-6)


SPENDER = """
import sys
from pathlib import Path
from harness.record.budget import BudgetBook
book = BudgetBook(Path(sys.argv[1]))
name, last = sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(last):
    if book.reserve([("run", 1.0)], f"{name}-{turn}", 0.01) is None:
        print("held", flush=True)
        book.settle(f"{name}-{turn}", 0.004 if turn % 5 else None)
"""


def _spender(path: Path, name: str, turns: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SPENDER, str(path), name, str(turns)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_two_processes_share_one_cap(tmp_path):
    path = tmp_path / "b.sqlite"
    spenders = [_spender(path, name, 150) for name in "ab"]
    for process in spenders:
        assert process.stdout.readline() == "ready\n"
    for process in spenders:
        process.stdin.write("\n")
        process.stdin.flush()
    grants = [process.communicate(timeout=60)[0].count("held") for process in spenders]
    assert [process.returncode for process in spenders] == [0, 0]
    book = BudgetBook(path)
    balance = book.balance("run")
    book.close()
    assert balance.held == 0 and 0.9 < (balance.spent + balance.unknown) / 1e9 <= 1.0
    assert 0 < sum(grants) < 300


def test_a_killed_process_leaves_a_whole_book(tmp_path):
    path = tmp_path / "b.sqlite"
    process = _spender(path, "a", 100_000)
    process.stdout.readline()
    process.stdin.write("\n")
    process.stdin.flush()
    for _ in range(20):
        assert process.stdout.readline() == "held\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    book = BudgetBook(path)
    assert book._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    book.abandon("run")
    balance = book.balance("run")
    rows = book._db.execute("SELECT state, SUM(nano) FROM entries GROUP BY state").fetchall()
    book.close()
    assert dict(rows) == {"spent": balance.spent, "unknown": balance.unknown}
    assert balance.spent >= 15 * 4_000_000 and balance.held == 0


# ---------------------------------------------------------------- in the loop


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


def test_a_book_that_is_none_is_named(tmp_path):
    path = tmp_path / "budget.sqlite"
    path.write_bytes(b"not a database, and long enough to be looked at" * 100)
    with pytest.raises(MachineError, match=r"budget\.sqlite cannot be read as the book of money"):
        BudgetBook(path)
    assert path.read_bytes().startswith(b"not a database")
