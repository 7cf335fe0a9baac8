"""`fibreflow costs` on the events of a workspace: text, JSON, CSV and a chart."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.record.budget import BudgetBook
from harness.record.journal import Journal
from harness.record.workspace import Workspace
from harness.runner import main
from orchestrator import events as e
from orchestrator.values import Usage
from tests.fakes.clock import VirtualClock

MODEL = "claude-haiku-5-5"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path)
    run = "20260101-000000-aaaa"
    journal = Journal(found.events(run), run, VirtualClock())
    names = {"feature": "=evil()", "attempt": "r1-a01"}
    journal.write(e.AttemptStarted(**names, model=MODEL, agent="builtin", tier="haiku"))
    known = e.ModelCalled(
        **names, turn=1, model=MODEL, usage=Usage(1000, 1000, 50_000, 0), cost_usd=0.0011
    )
    journal.write(known)
    journal.write(replace(known, turn=2, usage=None, cost_usd=None))
    journal.close()
    book = BudgetBook(found.logs / "budget.sqlite")
    book.reserve([(f"run {run}", None)], "k", 0.01)
    book.settle("k", 0.0011)
    book.close()
    return found


def test_the_tables_say_what_is_known_and_what_is_not(workspace, capsys):
    assert main(["costs", "--workspace", str(workspace.root)]) == 0
    said = capsys.readouterr().out
    assert "at least $0.0011 for 2 calls, 98% of the input from cache" in said
    assert "1 calls of unknown cost are in no sum" in said
    assert "all-haiku $0.0011, all-sonnet $0.0170, all-opus $0.0340" in said
    assert "by model" in said and "by day" in said and MODEL in said
    assert "the budget's book: $0.0011 spent" in said
    assert all(len(line) <= 100 for line in said.splitlines())


def test_json_csv_and_png(workspace, tmp_path, capsys):
    table, chart = tmp_path / "calls.csv", tmp_path / "costs.png"
    words = ["--json", "--csv", str(table), "--png", str(chart)]
    assert main(["costs", "--workspace", str(workspace.root), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["unknown_calls"] == 1
    assert found["book"]["spent_usd"] == found["total"]["usd"] == pytest.approx(0.0011)
    assert found["cache"]["saved_usd"] == pytest.approx(50_000 * 0.09e-6)
    first, second = list(csv.DictReader(table.open()))
    assert (first["feature"], first["cost_usd"], first["cache_read"]) == (
        "'=evil()", "0.001100000", "50000",
    )  # fmt: skip
    assert (second["cost_usd"], second["input"]) == ("", "")
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_an_empty_workspace_is_told_so(tmp_path, capsys):
    assert main(["costs", "--workspace", str(tmp_path)]) == 2
    assert "nothing has been paid for" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(workspace, tmp_path, capsys):
    path = tmp_path / "no" / "such.csv"
    assert main(["costs", "--workspace", str(workspace.root), "--csv", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
