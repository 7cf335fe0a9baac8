"""The book never lets reservations exceed a cap, whoever asks at once and whoever is killed."""

import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.record.budget import BudgetBook
from orchestrator.errors import (
    MachineError,
)

ROOT = Path(__file__).resolve().parents[3]


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


def test_a_book_that_is_none_is_named(tmp_path):
    path = tmp_path / "budget.sqlite"
    path.write_bytes(b"not a database, and long enough to be looked at" * 100)
    with pytest.raises(MachineError, match=r"budget\.sqlite cannot be read as the book of money"):
        BudgetBook(path)
    assert path.read_bytes().startswith(b"not a database")
