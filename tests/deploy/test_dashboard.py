"""The example dashboard asks only for metrics and labels that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.reporting.metrics import FAMILIES, Family

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "fibreflow.json"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
EXPOSED: dict[str, Family] = {
    family.name + suffix: family for family in FAMILIES.values() for suffix in SUFFIXES[family.kind]
}
#: What whoever scrapes adds, and the bound of a histogram's bucket.
ADDED = {"job", "instance", "le"}
_METRIC = re.compile(r"\b((?:fibreflow|gen_ai)_\w+)(?:\{([^}]*)\})?")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")


def queries() -> Iterator[str]:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (v["query"] for v in board["templating"]["list"] if v["type"] == "query")


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_names_what_there_is(query: str) -> None:
    grouped = {name.strip() for by in _GROUPED.findall(query) for name in by.split(",")}
    bare = _GROUPED.sub("", query)
    asked = _METRIC.findall(bare)
    assert asked, "it asks for no metric"
    labels = set(ADDED)
    for name, selectors in asked:
        assert name in EXPOSED, name
        labels |= set(EXPOSED[name].labels)
        used = {one.split("=")[0].strip("~! ") for one in selectors.split(",") if one}
        assert used <= ADDED | set(EXPOSED[name].labels)
    assert grouped <= labels


def test_it_shows_what_an_operator_looks_for() -> None:
    shown = " ".join(queries())
    for name in ("fibreflow_features", "fibreflow_cost_usd_total", "fibreflow_cost_unknown_total",
                 "fibreflow_attempts_running", "fibreflow_merges_total"):  # fmt: skip
        assert name in shown


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    cells = [
        (x, p["gridPos"]["y"])
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
