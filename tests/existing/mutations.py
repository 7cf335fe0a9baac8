"""Says what a model of mixed ability would write for a deleted function."""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.existing.deletions import Function

_SWAPS = {
    b"<": b"<=", b"<=": b"<", b">": b">=", b">=": b">", b"==": b"!=", b"!=": b"==",
    b"+": b"-", b"-": b"+", b"*": b"+", b"//": b"*", b"%": b"//",
    b"and": b"or", b"or": b"and", b"in": b"not in", b"is": b"is not",
}  # fmt: skip
_MUTANTS = 4


@dataclass(frozen=True)
class Answer:
    """`kind`: original, mutant, stub or broken; `text` is the whole function as it is written."""

    kind: str
    text: bytes


def answers(function: Function, seed: int) -> tuple[Answer, ...]:
    """The right answer first, then mutants, some of which may be right by the tests; a stub and
    a text that is no Python come last."""
    head = function.head
    mutants = [head + body for body in _mutants(function.body)]
    random.Random(seed).shuffle(mutants)
    return (
        Answer("original", function.whole),
        *(Answer("mutant", text) for text in mutants[:_MUTANTS]),
        Answer("stub", head + function.with_body(b"return None")),
        Answer("broken", head + function.with_body(b"return ((")),
    )


def _mutants(body: bytes) -> Iterator[bytes]:
    """The body with one operator, number, condition or result changed."""
    text = body.decode("utf-8", "replace")
    if text.encode() != body:
        return
    # A body stands alone within a function of its own; one line more in front.
    source = "async def f():\n" + text
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    data = source.encode()
    front = len(b"async def f():\n")
    for node in ast.walk(tree):
        for begin, end, new in _changes(node, data):
            changed = data[:begin] + new + data[end:]
            try:
                compile(changed, "mutant", "exec", ast.PyCF_ONLY_AST)
            except (SyntaxError, ValueError):
                continue
            yield changed[front:]


def _changes(node: Any, data: bytes) -> Iterator[tuple[int, int, bytes]]:
    if isinstance(node, ast.Compare):
        yield from _between(data, node.left, node.comparators[0])
    elif isinstance(node, ast.BinOp):
        yield from _between(data, node.left, node.right)
    elif isinstance(node, ast.BoolOp):
        yield from _between(data, node.values[0], node.values[1])
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield (*_span(data, node), str(node.value + 1).encode())
    elif isinstance(node, ast.If | ast.IfExp):
        begin, end = _span(data, node.test)
        yield begin, end, b"(not (" + data[begin:end] + b"))"
    elif isinstance(node, ast.Return) and node.value is not None:
        yield (*_span(data, node.value), b"None")


def _between(data: bytes, left: Any, right: Any) -> Iterator[tuple[int, int, bytes]]:
    begin, end = _span(data, left)[1], _span(data, right)[0]
    gap = data[begin:end]
    operator = gap.strip()
    if operator in _SWAPS:
        at = begin + gap.index(operator)
        yield at, at + len(operator), _SWAPS[operator]


def _span(data: bytes, node: Any) -> tuple[int, int]:
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return (
        starts[node.lineno - 1] + node.col_offset,
        starts[node.end_lineno - 1] + node.end_col_offset,
    )
