"""Every event survives its line of JSON."""

import json
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import events
from orchestrator.values import Usage

TEXT = st.text(max_size=12)
NUMBER = st.floats(0, 1e9, allow_nan=False)
COUNT = st.integers(0, 10**9)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: COUNT,
    float: NUMBER,
    bool: st.booleans(),
    type(None): st.none(),
    Usage: st.builds(Usage, COUNT, COUNT, COUNT, COUNT),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, UnionType):
        return st.one_of(*map(values, get_args(hint)))
    if get_origin(hint) is tuple:
        return st.lists(TEXT, max_size=3).map(tuple)
    if hint in PLAIN:
        return PLAIN[hint]
    return st.dictionaries(TEXT, st.fixed_dictionaries({"attempts": COUNT}), max_size=2)


def built(cls: type[events.Event]) -> st.SearchStrategy[events.Event]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{f.name: values(hints[f.name]) for f in fields(cls)})


@pytest.mark.parametrize("cls", events.TYPES.values(), ids=list(events.TYPES))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_round_trip(cls: type[events.Event], data: st.DataObject) -> None:
    event = data.draw(built(cls))
    line = json.loads(json.dumps(events.to_json(event)))
    assert events.from_json(line) == event
    assert line["type"] == cls.__name__
    assert ("key" in line) == (not cls.repeats)


def test_a_type_of_a_newer_version_is_skipped() -> None:
    assert events.from_json({"type": "MoonLanded", "time": "", "run": ""}) is None


def test_unknown_keys_are_ignored_and_unknown_cost_is_written() -> None:
    called = events.ModelCalled(turn=1, model="m", usage=None, cost_usd=None)
    line = events.to_json(called)
    assert line["cost_usd"] is None
    assert "feature" not in line
    assert events.from_json({**line, "later": 1}) == called
