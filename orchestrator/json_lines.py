"""JSON with positions: a document as a tree that remembers where each value was written.

Scalars are read by the standard library's own decoder, so the two cannot disagree about them;
this module adds only arrays, objects, their positions, and keys that were written twice.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

#: Deepest nesting read. A feature list needs five levels; the rest is room for `deploy`.
DEPTH_LIMIT = 100

_BLANK = " \t\r\n"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Node:
    """One value: `text[start:end]` is how it was written.

    `scalar` holds strings, numbers, booleans and null; NaN and infinities pass as floats, as
    in `json.loads`. `members` keeps keys that were written twice.
    """

    kind: Literal["object", "array", "scalar"]
    start: int
    end: int
    scalar: str | int | float | bool | None = None
    items: "tuple[Node, ...]" = ()
    members: "tuple[Member, ...]" = ()

    def member(self, key: str) -> "Member | None":
        """The last member of that name, which is the one `json.loads` keeps."""
        return next((m for m in reversed(self.members) if m.key == key), None)


@dataclass(frozen=True, slots=True)
class Member:
    """One `"key": value`; `start` and `end` are those of the key, with its quotes."""

    key: str
    start: int
    end: int
    value: Node


class Lines:
    """Offsets to line numbers of one text, both from its start; lines count from 1."""

    def __init__(self, text: str) -> None:
        self._breaks = [at for at, char in enumerate(text) if char == "\n"]

    def line(self, offset: int) -> int:
        return bisect_left(self._breaks, offset) + 1


def scan(text: str) -> Node:
    """The tree of one JSON document.

    Raises `json.JSONDecodeError`, whose message says what was expected and what to do.
    """
    start = _skip(text, 0)
    if start == len(text):
        raise json.JSONDecodeError("there is nothing in it; write a JSON array or object", text, 0)
    root = _value(text, start, 1)
    rest = _skip(text, root.end)
    if rest != len(text):
        raise json.JSONDecodeError(
            "the document ends here, but more text follows; remove it", text, rest
        )
    return root


def plain(node: Node, word: Callable[[str], str] = str) -> object:
    """The value as `json.loads` would give it; of a key written twice the last one counts.
    `word` is applied to every string and key."""
    if node.kind == "object":
        return {word(m.key): plain(m.value, word) for m in node.members}
    if node.kind == "array":
        return [plain(item, word) for item in node.items]
    return word(node.scalar) if isinstance(node.scalar, str) else node.scalar


def encodable(word: str) -> bool:
    """False for half a surrogate pair, which JSON can write as an escape but no file can hold."""
    return not any("\ud800" <= char <= "\udfff" for char in word)


def find(root: Node, path: Sequence[str | int]) -> Node | None:
    """The node at a path of keys and indexes, None when there is none."""
    node = root
    for step in path:
        if isinstance(step, int):
            if not 0 <= step < len(node.items):
                return None
            node = node.items[step]
        else:
            member = node.member(step)
            if member is None:
                return None
            node = member.value
    return node


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    yield node
    for item in node.items:
        yield from walk(item)
    for member in node.members:
        yield from walk(member.value)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _value(text: str, at: int, depth: int) -> Node:
    if depth > DEPTH_LIMIT:
        raise json.JSONDecodeError(f"nested deeper than {DEPTH_LIMIT} levels; flatten it", text, at)
    opening = text[at : at + 1]
    if opening == "{":
        return _object(text, at, depth)
    if opening == "[":
        return _array(text, at, depth)
    return _scalar(text, at)


def _scalar(text: str, at: int) -> Node:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise json.JSONDecodeError(_hint(text, error), text, error.pos) from None
    except ValueError:  # Python refuses to read integers of thousands of digits
        raise json.JSONDecodeError("a number too long to be meant; shorten it", text, at) from None
    return Node("scalar", at, end, scalar=value)


def _array(text: str, start: int, depth: int) -> Node:
    items: list[Node] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "]":
        if items:
            at = _comma(text, at, start, "]")
        items.append(_value(text, at, depth + 1))
        at = _skip(text, items[-1].end)
    return Node("array", start, at + 1, items=tuple(items))


def _object(text: str, start: int, depth: int) -> Node:
    members: list[Member] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        if members:
            at = _comma(text, at, start, "}")
        members.append(_member(text, at, start, depth))
        at = _skip(text, members[-1].value.end)
    return Node("object", start, at + 1, members=tuple(members))


def _member(text: str, at: int, opened: int, depth: int) -> Member:
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError(
            _expected(text, at, opened, 'a key in "double quotes"'), text, at
        )
    key = _scalar(text, at)
    colon = _skip(text, key.end)
    if text[colon : colon + 1] != ":":
        what = _expected(text, colon, opened, "a colon after the key")
        raise json.JSONDecodeError(what, text, colon)
    value = _value(text, _skip(text, colon + 1), depth + 1)
    return Member(str(key.scalar), at, key.end, value)


def _comma(text: str, at: int, opened: int, closing: str) -> int:
    """The start of what follows the comma at `at`."""
    if text[at : at + 1] != ",":
        what = _expected(text, at, opened, f"a comma or {closing}")
        raise json.JSONDecodeError(what, text, at)
    after = _skip(text, at + 1)
    if text[after : after + 1] == closing:
        raise json.JSONDecodeError(f"a comma before {closing}; remove the comma", text, at)
    return after


def _expected(text: str, at: int, opened: int, what: str) -> str:
    if at >= len(text):
        line = text.count("\n", 0, opened) + 1
        closing = "}" if text[opened] == "{" else "]"
        return f"the file ends inside what line {line} opened with {text[opened]}; add {closing}"
    return _habit(text, at) or f"expected {what}"


def _habit(text: str, at: int) -> str:
    """What people write in JSON that other languages allow."""
    if text.startswith(("//", "/*", "#"), at):
        return "JSON has no comments; remove it"
    if text.startswith("'", at):
        return 'JSON strings stand in "double quotes", not in single ones'
    return ""


def _hint(text: str, error: json.JSONDecodeError) -> str:
    at = error.pos
    if at >= len(text):
        return "the file ends where a value should stand; add the value and close what is open"
    if error.msg.startswith("Unterminated string"):
        return 'a string is never closed; add the missing "'
    if error.msg.startswith("Invalid control character"):
        return "a line break or control character inside a string; write \\n or \\u00XX instead"
    if error.msg.startswith("Invalid \\"):
        return "a backslash starts an escape; write \\\\ for a backslash itself"
    for word, right in (("True", "true"), ("False", "false"), ("None", "null")):
        if text.startswith(word, at):
            return f"JSON writes {right}, not {word}"
    return _habit(text, at) or "expected a value: a string, number, true, false, null, [ or {"
