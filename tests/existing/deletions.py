"""Deletes functions of a package by a seeded rule, and makes features of what was deleted."""

import ast
import random
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tests.existing.packages import Package
from tests.existing.suites import passing

#: How many functions are tried for each that is wanted: many are covered by no test.
_TRIES = 8
_STUB = "raise NotImplementedError"


@dataclass(frozen=True)
class Function:
    """A function in a file: the text from its `def` to the end of its body, and the body alone.
    Bytes as in the file; `body` are whole lines.
    """

    path: str
    name: str
    head: bytes
    body: bytes

    @property
    def whole(self) -> bytes:
        return self.head + self.body

    @property
    def stub(self) -> bytes:
        return self.head + self.with_body(_STUB.encode())

    def with_body(self, statement: bytes) -> bytes:
        """One statement in place of the body, indented and ended like it."""
        indent = self.body[: len(self.body) - len(self.body.lstrip(b" \t"))]
        end = b"\r\n" if self.body.endswith(b"\r\n") else b"\n" if self.body[-1:] == b"\n" else b""
        return indent + statement + end


@dataclass(frozen=True)
class Deleted:
    """A deleted function, the feature that stands for it and the tests that miss it."""

    id: str
    function: Function
    tests: frozenset[str]


def functions(repo: Path) -> list[Function]:
    """Module-level functions, and methods of module-level classes, with three statements or
    more beside the docstring, in files that are not tests; in the order of their paths."""
    found: list[Function] = []
    for path in sorted(repo.rglob("*.py")):
        relative = PurePosixPath(path.relative_to(repo).as_posix())
        if not _is_test(relative):
            found += _functions_in(str(relative), path.read_bytes())
    return found


def _is_test(path: PurePosixPath) -> bool:
    parts = {"test", "tests", "testing", "docs", "doc", "bin", "benchmarks", "examples", ".git"}
    if parts & set(path.parts) or path.name in {"setup.py", "conftest.py"}:
        return True
    return path.stem.startswith("test_") or path.stem.endswith("_test")


def _functions_in(path: str, data: bytes) -> Iterator[Function]:
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return
    for outer in tree.body:
        inner = outer.body if isinstance(outer, ast.ClassDef) else [outer]
        for node in inner:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                prefix = f"{outer.name}." if isinstance(outer, ast.ClassDef) else ""
                function = _function(path, prefix + node.name, node, data)
                if function is not None:
                    yield function


def _function(path: str, name: str, node: Any, data: bytes) -> Function | None:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if len(body) < 3:
        return None
    lines = data.splitlines(keepends=True)
    decorated = [d.lineno for d in getattr(body[0], "decorator_list", [])]
    first = min([body[0].lineno, *decorated])
    before = node.body[0].end_lineno if body is not node.body else _end_of_head(node)
    if first <= before:  # on the line of the `def` or of the docstring
        return None
    head, rest = lines[node.lineno - 1 : first - 1], lines[first - 1 : node.end_lineno]
    return Function(path, name, b"".join(head), b"".join(rest))


def _end_of_head(node: Any) -> int:
    parts = [node.args, node.returns]
    inner = [n for part in parts if part is not None for n in ast.walk(part)]
    return max([node.lineno, *(n.end_lineno for n in inner if hasattr(n, "end_lineno"))])


def delete(package: Package, repo: Path, count: int, seed: int) -> tuple[Deleted, ...]:
    """Delete `count` functions that tests miss, no test missing two of them.

    Which ones is decided by the seed and by running the suite without each. The files are
    left with all of them deleted.
    """
    before = passing(package, repo)
    assert before, f"the suite of {package.name} passes nothing on this machine"
    candidates = functions(repo)
    random.Random(seed).shuffle(candidates)
    found: list[Deleted] = []
    taken: set[str] = set()
    for function in candidates[: count * _TRIES]:
        if len(found) == count:
            break
        if not _replaceable(repo, function, found):
            continue
        _replace(repo, function, function.whole, function.stub)
        missed = before - passing(package, repo)
        _replace(repo, function, function.stub, function.whole)
        places = {test.partition("[")[0] for test in missed}
        # A module that cannot even be imported without it would take every feature along.
        if missed and len(missed) < len(before) // 2 and not places & taken:
            taken |= places
            name = function.name.replace(".", "-").strip("_").lower()
            found.append(Deleted(f"f{len(found) + 1}-{name}", function, frozenset(missed)))
    for one in found:
        _replace(repo, one.function, one.function.whole, one.function.stub)
    assert len(found) == count, f"{package.name}: only {len(found)} functions are missed by tests"
    return tuple(found)


def _replaceable(repo: Path, function: Function, found: list[Deleted]) -> bool:
    """It and its stub are unmistakable in the file, alone and with the others deleted."""
    text = (repo / function.path).read_bytes()
    others = [f.function for f in found if f.function.path == function.path]
    stubs = [other.stub for other in others]
    for other in others:
        text = text.replace(other.whole, other.stub)
    after = text.replace(function.whole, function.stub)
    known = text.count(function.whole) == 1 and after.count(function.stub) == 1
    return known and all(after.count(stub) == 1 for stub in stubs)


def _replace(repo: Path, function: Function, old: bytes, new: bytes) -> None:
    path = repo / function.path
    path.write_bytes(path.read_bytes().replace(old, new))


def feature_list(package: Package, deleted: tuple[Deleted, ...]) -> dict[str, Any]:
    """The full form. The second and later features depend on the first, the last on all."""
    ids = [one.id for one in deleted]
    return {
        "version": 1,
        "project": {
            "name": package.name,
            "test": package.test,
            **({"setup": package.setup} if package.setup else {}),
            **({"env": dict(package.env)} if package.env else {}),
        },
        "defaults": {"rounds": 4, "quorum": 2, "timeout_minutes": 3, "turns": 12},
        "features": [
            {
                "id": one.id,
                "category": "restore",
                "description": f"Implement `{one.function.name}` in {one.function.path}, which "
                "only raises NotImplementedError; its docstring and its tests say what it does.",
                "depends_on": ids[: min(n, 1)] if n < len(ids) - 1 else ids[:n],
                "acceptance": [acceptance(package, one)],
                "scope": [one.function.path],
            }
            for n, one in enumerate(deleted)
        ],
    }


def acceptance(package: Package, one: Deleted) -> str:
    """The project's test command limited to the tests that miss the function. A test with
    parameters is named as a whole: that some of them pass without it does no harm."""
    places = sorted({test.partition("[")[0] for test in one.tests})
    if package.unittest:
        names = [p.replace(".py::", ".").replace("/", ".").replace("::", ".") for p in places]
        return shlex.join(["python", "-m", "unittest", *names])
    return shlex.join([*_without_places(package), *places])


def _without_places(package: Package) -> list[str]:
    return [word for word in shlex.split(package.test) if word not in package.tests]
