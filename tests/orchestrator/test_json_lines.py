"""The position scanner agrees with the standard library and knows where everything stands."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.json_lines import DEPTH_LIMIT, Lines, Node, encodable, find, plain, scan, walk

# A shared machine may be slow; how long an example takes says nothing here.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@UNTIMED
@given(JSON, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_agrees_with_the_standard_library(
    value: object, indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert plain(scan(text)) == json.loads(text) == value


@UNTIMED
@given(st.text(alphabet='[]{}":,019-.eEtrufalsn \r\n\t\\/', max_size=12))
def test_accepts_and_refuses_what_the_standard_library_does(text: str) -> None:
    try:
        expected = json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises(json.JSONDecodeError):
            scan(text)
    else:
        assert repr(plain(scan(text))) == repr(expected)


@UNTIMED
@given(JSON)
def test_every_position_spans_the_value_it_names(value: object) -> None:
    text = json.dumps(value, indent=1)
    for node in walk(scan(text)):
        assert json.loads(text[node.start : node.end]) == plain(node)
        for member in node.members:
            assert json.loads(text[member.start : member.end]) == member.key


def test_keys_written_twice_are_kept() -> None:
    root = scan('{"a": 1, "b": 2, "a": 3}')
    assert [m.key for m in root.members] == ["a", "b", "a"]
    last = root.member("a")
    assert last is not None
    assert last.value.scalar == 3
    assert plain(root) == {"a": 3, "b": 2}


def test_find_follows_keys_and_indexes() -> None:
    root = scan('{"features": [{"id": "a"}, {"id": "b"}]}')
    found = find(root, ("features", 1, "id"))
    assert found == Node("scalar", 34, 37, scalar="b")
    for path in [("features", 2), ("features", -1), ("nothing",), ("features", "id"), (0,)]:
        assert find(root, path) is None


def test_lines_count_from_one_and_a_break_ends_its_own_line() -> None:
    lines = Lines("ab\ncd\r\n\nx")
    assert [lines.line(at) for at in range(9)] == [1, 1, 1, 2, 2, 2, 2, 3, 4]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_has_a_limit_and_no_recursion_error(opening: str) -> None:
    closing = {"[": "]", '{"a":': "}"}[opening]
    scan(opening * (DEPTH_LIMIT - 1) + "1" + closing * (DEPTH_LIMIT - 1))
    for depth in (DEPTH_LIMIT, 100_000):
        with pytest.raises(json.JSONDecodeError, match="nested deeper"):
            scan(opening * depth + "1" + closing * depth)


def test_a_number_too_long_for_python_is_a_json_error() -> None:
    with pytest.raises(json.JSONDecodeError, match="too long"):
        scan("[1, " + "9" * 5000 + "]")


def test_plain_applies_a_function_to_strings_and_keys_only() -> None:
    assert plain(scan('{"a": ["b", 1, null]}'), str.upper) == {"A": ["B", 1, None]}


def test_half_a_surrogate_pair_is_not_encodable() -> None:
    assert encodable("\U0001f600 \ud7ff \ue000")
    assert not encodable("a\ud800")
