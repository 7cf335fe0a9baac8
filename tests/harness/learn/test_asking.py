"""`fibreflow learn`: review, list, show, import, as typed."""

import json
from dataclasses import replace

import pytest

from harness.cli import flags
from harness.learn.asking import show
from harness.learn.store import PatternStore
from harness.record.clock import SystemClock
from harness.record.journal import Journal
from harness.record.workspace import Workspace
from harness.runner import main
from orchestrator import events
from orchestrator.errors import InputError
from orchestrator.learn.lift import Arm, Tally
from tests.harness.learn.patterns import pattern


def ask(folder, *words: str) -> str:
    command = flags.parse(["learn", "--workspace", str(folder), *words])
    assert command.learn is not None
    return show(Workspace(folder), command.learn)


@pytest.fixture
def store(tmp_path):
    made = PatternStore(tmp_path / "learned_patterns.json", tmp_path / "logs" / ".lock")
    runs = {"run-1": Tally(3, Arm(8, 7, 1), Arm(2, 0, 2))}
    made.update(lambda _: [pattern("one", runs=runs), pattern("two", status="retired")])
    return made


def test_it_lists_and_shows_what_is_known(store, tmp_path, capsys):
    lines = ask(tmp_path, "list").splitlines()
    assert [line.split()[1] for line in lines] == ["retired", "trial"]
    assert [p["id"] for p in json.loads(ask(tmp_path, "list", "--json"))]
    text = ask(tmp_path, "show", pattern("one").id[:12])
    assert "withheld:      2 attempts, 2 failed so, 0 passed" in text
    assert json.loads(ask(tmp_path, "show", pattern("one").id, "--json"))["hits"] == 3
    assert main(["learn", "list", "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("what", ["nothing", "v1-"])
def test_what_is_not_one_pattern_is_refused(store, tmp_path, what):
    with pytest.raises(InputError, match="called"):
        ask(tmp_path, "show", what)


def test_an_import_adds_what_is_new_on_trial_without_foreign_counts(store, tmp_path):
    other = PatternStore(tmp_path / "other.json", tmp_path / "logs" / ".other")
    kept = replace(pattern("three"), status="kept", runs={"r": Tally(9)})
    other.update(lambda _: [replace(pattern("one"), title="Changed"), kept])
    assert ask(tmp_path, "import", str(other.path)).startswith("1 of 2 patterns are new")
    known = store.load()
    assert known[pattern("one").id].title == pattern("one").title
    new = known[kept.id]
    assert (new.status, new.by, new.total) == ("trial", "import", Tally())


def test_an_import_of_nothing_or_of_rubbish_changes_nothing(store, tmp_path):
    before = store.path.read_bytes()
    (tmp_path / "bad.json").write_text("{")
    for what in ("absent.json", "bad.json"):
        with pytest.raises(InputError):
            ask(tmp_path, "import", str(tmp_path / what))
    assert store.path.read_bytes() == before


def test_a_review_is_printed_and_written_and_applies_nothing(store, tmp_path):
    with pytest.raises(InputError, match="nothing was tried"):
        ask(tmp_path, "review")
    folder = tmp_path / "logs" / "2026-run"
    journal = Journal(folder / "events.jsonl", "2026-run", SystemClock())
    at = {"feature": "f", "attempt": "r1-a01"}
    journal.write(events.RunStarted(repo="", branch="", base="", features={"f": {}}))
    journal.write(events.AttemptStarted(model="m", agent="builtin", tier="haiku", **at))
    ended = {"turns": 9, "seconds": 5.0, "cost_usd": 0.0, "patch": False}
    journal.write(events.AttemptFinished(ending="limit", reason="9 turns used", **ended, **at))
    journal.close()
    before = store.path.read_bytes()
    text = ask(tmp_path, "review", "--days", "1")
    assert "| haiku | 1 | 0 | 0% |" in text
    (written,) = (tmp_path / "logs").glob("review-*.md")
    assert written.read_text() in text
    assert json.loads(ask(tmp_path, "review", "--json"))["attempts"] == 1
    assert store.path.read_bytes() == before
    with pytest.raises(InputError, match="--days"):
        ask(tmp_path, "review", "--days", "nan")
