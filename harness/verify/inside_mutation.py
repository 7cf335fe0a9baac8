"""Runs inside a sandbox: changes the changed lines, one thing at a time, and runs the tests.

Comparisons, conditions, arithmetic, booleans and numbers are turned round, returned values are
dropped. `FIBREFLOW_CHANGED` names a file with `path:first-last` lines; the argument is the test
command in base64. Prints the share of mutants that a run of the tests notices, by failing or by
not ending, or `none`. mutmut and cosmic-ray are not here: they would have to be installed in the
project's environment. A project that does so names one of them as a gate instead.
"""

import ast
import base64
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

MOST = 24  # mutants; more say little more, and each costs a run of the tests
PATIENCE = 3.0  # times what the tests take as they are

FLIPS: dict[type, Any] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def places(tree: ast.AST, lines: set[int]) -> Iterator[tuple[Any, str]]:
    """(node, what to change) for everything on these lines that can be turned round."""
    for node in ast.walk(tree):
        if getattr(node, "lineno", None) not in lines:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPS:
            yield node, "ops"
        elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in FLIPS:
            yield node, "op"
        elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
            yield node, "test"
        elif isinstance(node, ast.Return) and node.value is not None:
            yield node, "value"
        elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
            yield node, "constant"


def mutate(node: Any, what: str) -> Callable[[], None]:
    """Change the tree; what undoes it."""
    if what == "ops":
        old = node.ops[0]
        node.ops[0] = FLIPS[type(old)]()
        return lambda: node.ops.__setitem__(0, old)
    if what == "op":
        old = node.op
        node.op = FLIPS[type(old)]()
        return lambda: setattr(node, "op", old)
    old = node.value if what in ("value", "constant") else node.test
    if what == "test":
        node.test = ast.UnaryOp(op=ast.Not(), operand=old)
        return lambda: setattr(node, "test", old)
    if what == "value":
        empty = isinstance(old, ast.Constant) and old.value is None
        node.value = ast.Constant(value=0 if empty else None)
    else:
        node.value = (not old) if isinstance(old, bool) else old + 1
    return lambda: setattr(node, "value", old)


def mutants(changed: Mapping[str, set[int]]) -> list[tuple[Path, str]]:
    """(path, text) of each mutant, in no order that a patch could know."""
    found = []
    for name, lines in changed.items():
        path = Path(name)
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        same = ast.unparse(tree)
        for node, what in places(tree, lines):
            undo = mutate(node, what)
            text = ast.unparse(ast.fix_missing_locations(tree))
            undo()
            if text != same:
                found.append((path, text))
    random.SystemRandom().shuffle(found)
    return found[:MOST]


def passes(command: str, seconds: float) -> bool:
    process = subprocess.Popen(
        ["/bin/sh", "-c", command], start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def changed_lines() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for line in Path(os.environ["FIBREFLOW_CHANGED"]).read_text("utf-8").splitlines():
        path, _, span = line.rpartition(":")
        first, _, last = span.partition("-")
        name = Path(path).name
        tests = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
        if path.endswith(".py") and not tests and "tests" not in Path(path).parts:
            found.setdefault(path, set()).update(range(int(first), int(last) + 1))
    return found


def main() -> int:
    command = base64.b64decode(sys.argv[1]).decode()
    made = mutants(changed_lines())
    if not made:
        sys.stdout.write("none\n")
        return 0
    began = time.monotonic()
    if not passes(command, 600):
        sys.stderr.write("the tests fail as they are\n")
        return 1
    seconds = 2 + PATIENCE * (time.monotonic() - began)
    killed = 0
    for path, text in made:
        before = path.read_bytes()
        path.write_text(text, "utf-8")
        killed += not passes(command, seconds)
        path.write_bytes(before)
    sys.stdout.write(f"{killed} of {len(made)} mutants noticed: {killed / len(made):.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
