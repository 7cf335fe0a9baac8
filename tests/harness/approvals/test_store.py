"""One store for every way of answering: the first answer that counts decides, whoever it is."""

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.approvals.store import ApprovalStore
from orchestrator.approval_requests import Answer, People, Request
from orchestrator.errors import MachineError
from tests.harness.agents.workbench import StepClock
from tests.harness.approvals.asking import only, store_with

TEAM = People({"alice": (), "bob": ("slack:U2",), "carol": ()}, experts=("carol",))
REQUEST = Request(
    id="q1", strategy="REQUIRED", environment="production", run="r", commit="c" * 40,
    digest="d" * 64, requester="alice", asked=1000.0, expires=2000.0,
    reasons=("so",), facts=(("staging", "http://x"),),
)  # fmt: skip


def open_store(folder: Path, now: float = 1500.0) -> ApprovalStore:
    clock = StepClock()
    clock.time = now
    return ApprovalStore(folder / "logs" / "approvals.sqlite", clock)


def says(verdict: str, by: str, at: float = 1500.0) -> Answer:
    return Answer(verdict, by, "because", at, "cli")  # type: ignore[arg-type]


def test_what_was_asked_comes_back_and_is_asked_once(tmp_path: Path) -> None:
    assert open_store(tmp_path).all() == []
    open_store(tmp_path).ask(REQUEST, TEAM)
    open_store(tmp_path).ask(replace(REQUEST, expires=9e9, strategy="AUTO"), People())
    (asked,) = open_store(tmp_path).all()
    assert (asked.request, asked.people, asked.standing) == (REQUEST, TEAM, "pending")


def test_the_first_answer_stands_and_the_others_hear_whose(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.ask(REQUEST, TEAM)
    assert store.answer("q1", says("approved", "bob")).counted
    again = store.answer("q1", says("approved", "bob"))
    assert (again.counted, again.words) == (False, "you have approved it already")
    late = open_store(tmp_path).answer("q1", says("rejected", "carol"))
    assert (late.counted, late.standing) == (False, "approved")
    assert late.words == "bob has approved it already"


def test_two_at_once_give_one_decision(tmp_path: Path) -> None:
    open_store(tmp_path).ask(REQUEST, TEAM)

    def answer(number: int) -> bool:
        verdict, by = (("approved", "bob"), ("rejected", "carol"))[number % 2]
        return open_store(tmp_path).answer("q1", says(verdict, by)).counted

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(answer, range(16))) == 1


def test_what_is_withdrawn_is_answered_no_more_and_says_why(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.ask(REQUEST, TEAM)
    for reason in ("the branch has gone on to eeee", "said again"):
        assert store.withdraw("q1", "alice", reason) == "superseded"
    late = store.answer("q1", says("approved", "bob"))
    assert (late.counted, late.standing) == (False, "superseded")
    assert late.words == "nobody is asked any more: the branch has gone on to eeee"
    assert store.withdraw("q2", "alice", "never asked") == "superseded"
    assert [a.request.id for a in store.all()] == ["q1"]


def test_what_was_decided_is_not_withdrawn(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.ask(REQUEST, TEAM)
    assert open_store(tmp_path, 2000.0).withdraw("q1", "alice", "gone on") == "expired"
    assert store.answer("q1", says("rejected", "bob")).counted
    assert store.withdraw("q1", "alice", "gone on") == "rejected"


def test_an_answer_and_a_withdrawal_at_once_give_one_decision(tmp_path: Path) -> None:
    open_store(tmp_path).ask(REQUEST, TEAM)

    def act(number: int) -> str:
        store = open_store(tmp_path)
        if number % 2:
            return store.withdraw("q1", "alice", "gone on")
        return store.answer("q1", says("approved", "bob")).standing

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(act, range(16)))) == 1


@pytest.mark.parametrize(
    ("id_", "answer", "words"),
    [
        ("q1", says("approved", "alice"), "somebody else"),
        ("q1", says("approved", "mallory"), "no approver"),
        ("q1", says("approved", "bob", at=2000.0), "too late"),
        ("q2", says("approved", "bob"), "no request q2"),
    ],
)
def test_what_does_not_count_decides_nothing(
    tmp_path: Path, id_: str, answer: Answer, words: str
) -> None:
    store = open_store(tmp_path)
    store.ask(REQUEST, TEAM)
    outcome = store.answer(id_, answer)
    assert not outcome.counted and words in outcome.words
    assert store.all()[0].standing == "pending"
    assert store.answer("q1", says("approved", "bob")).counted


def test_nobody_answers_in_time(tmp_path: Path) -> None:
    open_store(tmp_path).ask(REQUEST, TEAM)
    assert open_store(tmp_path, 2000.0).all()[0].standing == "expired"


def test_the_key_for_links_is_made_once_and_private(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: open_store(tmp_path).secret(), range(8)))
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert stat.S_IMODE((tmp_path / "logs" / "approvals.sqlite").stat().st_mode) == 0o600


def test_a_file_that_is_no_store_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "approvals.sqlite").write_text("no database" * 100)
    with pytest.raises(MachineError, match="move the file away"):
        open_store(tmp_path).all()


def test_no_file_name_can_change_what_is_read(tmp_path: Path) -> None:
    """A terminal would obey it, a page would turn it round: an approver must see what is there."""
    sly = "auth\x1b[2K\x1b[1Gnothing to see\u202e.py"
    asked = only(store_with(tmp_path, reasons=(f"is {sly}",), facts=(("what", sly),))).request
    for text in (*asked.reasons, *(text for _, text in asked.facts)):
        assert text.isprintable() and "auth\\x1b" in text
