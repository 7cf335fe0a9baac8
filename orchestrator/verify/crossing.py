"""Reads attempts' test files: which tests are new, which say the same, which are worth running.

The text is hostile and may be no Python at all; then it has no tests. Nothing here runs it.
"""

import ast
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

#: No honest test file is larger; parsing a larger one takes time and memory.
MAX_TEXT = 200_000


@dataclass(frozen=True)
class OwnTest:
    """One test function that an attempt added. `name` is pytest's, without the file:
    `test_x` or `TestY::test_x`. `gist` is equal for tests that say the same under other names;
    `times` counts the attempts that wrote it.
    """

    author: str
    path: str
    name: str
    gist: str
    times: int = 1

    @property
    def id(self) -> str:
        return f"{self.author}:{self.path}::{self.name}"


def parsed(text: str) -> ast.Module | None:
    """None for what is not Python, or too large or deep to be read."""
    if len(text) > MAX_TEXT:
        return None
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def new_tests(author: str, path: str, text: str, before: str = "") -> tuple[OwnTest, ...]:
    """The test functions of `text` that `before`, the file on the base, does not have so."""
    known = {gist for _, gist in _tests(before)}
    return tuple(
        OwnTest(author, path, name, gist) for name, gist in _tests(text) if gist not in known
    )


def _tests(text: str) -> list[tuple[str, str]]:
    module = parsed(text)
    found = []
    for node in module.body if module else ():
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inner = [n for n in node.body if _is_test(n)]
            found += [(f"{node.name}::{n.name}", gist) for n in inner if (gist := _gist(n))]
        elif _is_test(node) and (gist := _gist(node)):
            found.append((node.name, gist))
    return found


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, functions) and node.name.startswith("test")


def _gist(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What it does: without its name and docstring. Empty for one that is too deep to be told."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    try:
        told = "\n".join(ast.dump(n) for n in (node.args, *node.decorator_list, *body))
    except RecursionError:
        return ""
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def worth_running(tests: Sequence[OwnTest], most: int) -> tuple[OwnTest, ...]:
    """At most `most` tests that say different things, in turn from each author, so that nobody
    crowds out the others by writing many."""
    by_gist: dict[str, OwnTest] = {}
    for test in tests:
        first = by_gist.get(test.gist)
        if first is None:
            by_gist[test.gist] = test
        elif first.author != test.author:
            by_gist[test.gist] = replace(first, times=first.times + 1)
    queues: dict[str, list[OwnTest]] = {}
    for test in by_gist.values():
        queues.setdefault(test.author, []).append(test)
    chosen: list[OwnTest] = []
    while queues and len(chosen) < most:
        for author in list(queues):
            chosen.append(queues[author].pop(0))
            if not queues[author]:
                del queues[author]
    return tuple(chosen[:most])


def most_telling(
    outcomes: Mapping[OwnTest, Mapping[str, bool | None]], rivals: Collection[str]
) -> tuple[OwnTest, ...]:
    """The tests that their author passes and a rival fails, those that divide the rivals most
    evenly first: they tell most. A test that all pass tells nothing."""
    split = {}
    for test, said in outcomes.items():
        known = [said.get(r) for r in rivals if r != test.author and said.get(r) is not None]
        failed = known.count(False)
        if failed and said.get(test.author) is not False:
            split[test] = abs(failed / len(known) - 0.5)
    return tuple(sorted(split, key=lambda test: (split[test], test.id)))
