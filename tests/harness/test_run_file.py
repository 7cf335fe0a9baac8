"""`run.json`: read back as it was written, by later versions too, or refused in words."""

import json
from pathlib import Path

import pytest

from harness.cli.flags import RunOptions
from harness.run_file import RunFile
from orchestrator.errors import InputError

OPTIONS = RunOptions(
    workspace=Path("/w"), features=Path("/w/list.json"), attempts=3, only=("a", "b")
)


def plain() -> dict[str, object]:
    return {"workspace": "/w", "features": "/w/list.json", "attempts": 3, "only": ["a", "b"]}


def test_what_a_run_was_begun_with_is_what_it_goes_on_with(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    file = RunFile("d", plain(), ["a"], {"b": "review"}, {"b": ("r1-a02", "run-0")})
    file.store(path)
    again = RunFile.load(path)
    assert again.run_options() == OPTIONS
    assert tuple(again.waiting["b"]) == ("r1-a02", "run-0")
    assert again.held == {"b": "review"}


def test_a_file_of_an_older_version_names_nobody_who_waits(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    old = {"digest": "d", "options": plain(), "done": [], "held": {"b": "review"}}
    path.write_text(json.dumps(old))
    assert RunFile.load(path).waiting == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", '"text"', '{"digest": "d"}', '{"digest":"d","options":{},"done":[],"held":{}}'],
)
def test_a_broken_file_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match="begin a new run"):
        RunFile.load(path)
