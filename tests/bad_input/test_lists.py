"""Every broken feature list ends in one `FeatureListError` that names place and remedy."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import FeatureListError
from orchestrator.features.file import decode, parse, with_passes
from tests.bad_input.cases import LISTS

# A shared machine may be slow; how long an example takes says nothing here.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FOLDER = Path(__file__).parent / "lists"


def message(path: Path) -> str:
    with pytest.raises(FeatureListError) as caught:
        parse(decode(path.read_bytes(), path.name), path.name)
    return str(caught.value)


def test_every_file_has_its_line_in_the_table() -> None:
    assert {p.stem for p in FOLDER.glob("*.json")} == set(LISTS)
    assert len(LISTS) >= 40


@pytest.mark.parametrize("name", sorted(LISTS))
def test_message_names_place_and_remedy(name: str) -> None:
    said = message(FOLDER / f"{name}.json")
    assert said.startswith(f"{name}.json: ")
    for words in LISTS[name]:
        assert words in said


@pytest.mark.parametrize("name", sorted(LISTS))
def test_every_problem_is_one_printable_line_with_a_place(name: str) -> None:
    path = FOLDER / f"{name}.json"
    with pytest.raises(FeatureListError) as caught:
        parse(decode(path.read_bytes(), path.name), path.name)
    for problem in caught.value.problems:
        assert problem.startswith("line ")
        assert problem.isprintable()
    assert len(set(caught.value.problems)) == len(caught.value.problems)


@pytest.mark.parametrize("name", sorted(set(LISTS) - {"several", "two_cycles"}))
def test_one_fault_is_told_at_most_twice(name: str) -> None:
    """A message that repeats one fault in other words hides the others."""
    path = FOLDER / f"{name}.json"
    with pytest.raises(FeatureListError) as caught:
        parse(decode(path.read_bytes(), path.name), path.name)
    most = {"bare_wrong_types": 3, "entry_without_list": 3}.get(name, 2)
    assert len(caught.value.problems) <= most


def test_a_flood_is_cut_and_counted() -> None:
    entries = [{"category": "a", "description": "b", "zzz": 1} for _ in range(500)]
    with pytest.raises(FeatureListError) as caught:
        parse(json.dumps(entries), "flood")
    assert caught.value.problems[-1] == "and 300 more; mend these first"


KEYS = st.sampled_from(
    ["id", "description", "depends_on", "attempts", "features", "project", "defaults", "version",
     "acceptance", "category", "steps", "passes", "env", "deploy", "budget_usd", "scope", "tier"]
) | st.text(max_size=5)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), "a", "b", "\ud800", "\0", ".."])
    | st.floats()
    | st.text(max_size=8)
)
JSON: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


def only_its_own_error(text: str) -> None:
    try:
        parse(text, "x")
    except FeatureListError as error:
        assert error.problems
    try:
        with_passes(text, {"a": True})
    except FeatureListError as error:
        assert error.problems


@UNTIMED
@given(JSON)
def test_no_json_raises_anything_else(value: object) -> None:
    only_its_own_error(json.dumps(value))


@pytest.mark.long
@UNTIMED
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=6), max_size=4), JSON, JSON)
def test_no_list_of_entries_raises_anything_else(
    entries: object, project: object, defaults: object
) -> None:
    only_its_own_error(json.dumps(entries))
    only_its_own_error(json.dumps({"features": entries, "project": project, "defaults": defaults}))


@UNTIMED
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_no_text_raises_anything_else(text: str) -> None:
    only_its_own_error(text)


@UNTIMED
@given(st.text(alphabet='[]{}":,0123456789-.eE+truefalsn \n\\/u"#', max_size=40))
def test_no_near_json_raises_anything_else(text: str) -> None:
    only_its_own_error(text)


@UNTIMED
@given(st.binary())
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        decode(data, "x")
    except FeatureListError as error:
        assert "UTF-" in error.problems[0]
