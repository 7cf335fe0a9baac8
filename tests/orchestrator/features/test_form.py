"""A list that was read is written so that it reads as the same again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.features.file import parse
from orchestrator.features.form import full_form

ROOT = Path(__file__).resolve().parents[3]
BARE = '[{"category": "api", "description": "One.", "steps": ["Go."], "passes": true}]'
FULL = json.dumps(
    {
        "version": 1,
        "project": {"repo": "r", "protected": [], "env": {"A": "1"}, "min_coverage": 0.5},
        "defaults": {"attempts": 3, "quorum": 2, "budget_usd": 4.5, "repairs": 1},
        "features": [
            {"id": "a", "description": "A.", "acceptance": ["true"], "priority": 0, "tier": "opus"},
            {"id": "b", "description": "B.", "depends_on": ["a"], "scope": ["src/**"]},
        ],
    }
)


@pytest.mark.parametrize("text", [BARE, FULL, (ROOT / "feature_list.json").read_text("utf-8")])
def test_there_and_back(text: str) -> None:
    given = parse(text, "list")
    again = parse(json.dumps(full_form(given)), "again")
    as_full = replace(given, form="full", project=replace(given.project, deploy=None))
    assert again == as_full
