"""Runs inside a sandbox: changes the changed lines, one thing at a time, and runs the tests.

With cosmic-ray's operators where the project's environment has it. Else comparisons, conditions,
arithmetic, booleans and numbers are turned round, returned values are dropped. `FIBREFLOW_CHANGED`
names a file with `path:first-last` lines; the argument is the test command in base64. Prints the
share of mutants that a run of the tests notices, by failing or by not ending, or `none`.
"""

import ast
import base64
import functools
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

#: Makes the text of one mutant.
Maker = Callable[[], str]

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


def turned(text: str, lines: set[int]) -> Iterator[Maker]:
    """What makes each mutant of a file, by the operators above."""
    tree = ast.parse(text)
    same = ast.unparse(tree)
    for node, what in places(tree, lines):
        undo = mutate(node, what)
        changed = ast.unparse(ast.fix_missing_locations(tree))
        undo()
        if changed != same:
            yield functools.partial(str, changed)


def turned_by_cosmic_ray(text: str, lines: set[int]) -> Iterator[Maker]:
    """The same by its operators: those that ask for arguments are left out."""
    from cosmic_ray import mutating, plugins  # noqa: PLC0415
    from cosmic_ray.ast import ast_nodes, get_ast  # noqa: PLC0415

    ast.parse(text)  # its own parser mends what is no Python
    tree = get_ast(text)
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if kind.arguments():
            continue
        operator = kind()
        spans = (s for node in ast_nodes(tree) for s in operator.mutation_positions(node))
        for place, ((first, _), (last, _)) in enumerate(spans):
            if not lines.isdisjoint(range(first, last + 1)):
                yield functools.partial(mutating.mutate_code, text, operator, place)


def mutants(
    changed: Mapping[str, set[int]], turn: Callable[[str, set[int]], Iterator[Maker]]
) -> list[tuple[Path, str]]:
    """(path, text) of each mutant, in no order that a patch could know."""
    found: list[tuple[Path, Maker]] = []
    for name, lines in changed.items():
        path = Path(name)
        try:
            found += [(path, make) for make in turn(path.read_text("utf-8"), lines)]
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
    random.SystemRandom().shuffle(found)
    return [(path, make()) for path, make in found[:MOST]]


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
    changed = changed_lines()
    try:
        made, by = mutants(changed, turned_by_cosmic_ray), " of cosmic-ray"
    except Exception as error:  # noqa: BLE001 - not there, or not as known: then by ours
        sys.stderr.write(f"without cosmic-ray: {error}\n")
        made, by = mutants(changed, turned), ""
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
    sys.stdout.write(f"{killed} of {len(made)} mutants{by} noticed: {killed / len(made):.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
