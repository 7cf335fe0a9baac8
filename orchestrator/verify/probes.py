"""Finds shared inputs on which attempts can be compared: calls in their tests, and signatures.

A probe is an expression with the imports it needs, which stands for itself: no fixture, no local
name. What it may mention is closed (imports of the product, a few of the standard library, plain
builtins), because one attempt's tests are run on its rivals. Nothing here runs anything.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from orchestrator.verify.crossing import parsed

#: Standard modules whose values are inputs, and which reach nothing outside of the process.
_PLAIN = ("collections", "datetime", "decimal", "fractions", "math")
_BUILTINS = frozenset(
    (
        "abs", "all", "any", "bool", "bytes", "dict", "divmod", "enumerate", "float", "frozenset",
        "int", "len", "list", "max", "min", "range", "repr", "reversed", "round", "set", "sorted",
        "str", "sum", "tuple", "zip",
    )
)  # fmt: skip
#: A name given a value is replaced by it, so both are bounded: no short text becomes a long one.
_MAX_NAMES = 60
_MAX_CHARS = 2_000
_REFUSED = (ast.Lambda, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom, ast.JoinedStr)

#: By annotation, in the order in which they are tried: the usual edges.
_VALUES = {
    "int": ("0", "1", "-1", "7"),
    "float": ("0.0", "1.5", "-2.0", "100.0"),
    "str": ("''", "'a'", "'Hello World'", "'1, 2'"),
    "bool": ("True", "False"),
    "bytes": ("b''", "b'ab'"),
}
_SETS = 4


@dataclass(frozen=True)
class Probe:
    """`imports` are statements, `expression` is evaluated after them."""

    imports: tuple[str, ...]
    expression: str


def in_turn(found: Iterable[Sequence[Probe]], most: int) -> tuple[Probe, ...]:
    """At most `most` distinct probes, in turn from each source."""
    queues = [list(dict.fromkeys(probes)) for probes in found]
    chosen: dict[Probe, None] = {}
    while any(queues) and len(chosen) < most:
        for queue in queues:
            if queue and len(chosen) < most:
                chosen[queue.pop(0)] = None
    return tuple(chosen)


def packages(paths: Iterable[str]) -> frozenset[str]:
    """The names by which product files are imported, of the first level: `shop` for
    `src/shop/total.py`."""
    roots: set[str] = set()
    for path in paths:
        parts = PurePosixPath(path).with_suffix("").parts
        parts = parts[1:] if parts[:1] == ("src",) else parts
        roots.update(parts[:1])
    return frozenset(roots)


# ---------------------------------------------------------------- from tests


def of_tests(text: str, product: frozenset[str]) -> tuple[Probe, ...]:
    """The calls of the product in a test file's functions that stand for themselves."""
    try:
        return _of_tests(text, product)
    except RecursionError:  # deeper than anything an honest test says
        return ()


def _of_tests(text: str, product: frozenset[str]) -> tuple[Probe, ...]:
    module = parsed(text)
    if module is None:
        return ()
    imported = dict(_imports(module, product))
    constants = _bindings(module.body, {}, imported)
    found: list[Probe] = []
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:4] == "test":
            bound = _bindings(node.body, constants, imported)
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    bound.pop(argument.arg, None)
            for statement in node.body:
                found += _calls(statement, bound, imported)
    return tuple(dict.fromkeys(found))


def _imports(module: ast.Module, product: frozenset[str]) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Name -> (statement, whether it is the product's). Private names are an attempt's own."""
    for node in module.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        outer: str | None = ""
        if isinstance(node, ast.ImportFrom):
            outer = None if node.level else node.module
        for a in node.names:
            parts = f"{outer}.{a.name}".strip(".").split(".") if outer is not None else ["_"]
            allowed = parts[0] in product or parts[0] in _PLAIN
            if allowed and not any(part.startswith("_") for part in parts):
                one = ast.ImportFrom(outer, [a], 0) if outer else ast.Import([a])
                name = a.asname or (a.name if outer else parts[0])
                yield name, (ast.unparse(one), parts[0] in product)


def _bindings(
    body: Sequence[ast.stmt],
    outer: Mapping[str, ast.expr],
    imported: Mapping[str, tuple[str, bool]],
) -> dict[str, ast.expr]:
    """Names given a value once, by an expression that stands for itself."""
    bound, seen = dict(outer), set()
    for node in body:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                if inner.id in seen:
                    bound.pop(inner.id, None)
                seen.add(inner.id)
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else 0
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name):
            bound.pop(target.id, None)
            if _closed(node.value, bound, imported):
                value = _Inline(bound).visit(_copy(node.value))
                if len(ast.unparse(value)) <= _MAX_CHARS:
                    bound[target.id] = value
    return bound


class _Inline(ast.NodeTransformer):
    def __init__(self, bound: Mapping[str, ast.expr]) -> None:
        self.bound = bound

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.bound.get(node.id, node) if isinstance(node.ctx, ast.Load) else node


def _copy(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body


def _closed(
    node: ast.expr, bound: Mapping[str, ast.expr], imported: Mapping[str, tuple[str, bool]]
) -> bool:
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    local = {n.id for n in names if _stored(n)}
    if len(names) > _MAX_NAMES or local & bound.keys():
        return False
    for inner in ast.walk(node):
        if isinstance(inner, _REFUSED):
            return False
        if isinstance(inner, ast.Attribute) and inner.attr.startswith("_"):
            return False
        if isinstance(inner, ast.Name) and not _stored(inner):
            known = inner.id in bound or inner.id in imported
            if not (known or inner.id in local or inner.id in _BUILTINS):
                return False
    return True


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _calls(
    node: ast.AST, bound: Mapping[str, ast.expr], imported: Mapping[str, tuple[str, bool]]
) -> Iterator[Probe]:
    """The outermost calls below `node` that stand for themselves and reach the product."""
    if isinstance(node, ast.Call) and _closed(node, bound, imported):
        probe = _probe(node, bound, imported)
        if probe is not None:
            yield probe
            return
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, bound, imported)


def _probe(
    node: ast.Call, bound: Mapping[str, ast.expr], imported: Mapping[str, tuple[str, bool]]
) -> Probe | None:
    tree = _Inline(bound).visit(_copy(node))
    expression = ast.unparse(tree)
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    used = sorted(imported[n] for n in names if n in imported)
    if len(expression) > _MAX_CHARS or not any(product for _, product in used):
        return None
    return Probe(tuple(line for line, _ in used), expression)


# ----------------------------------------------------------- from signatures


def of_signatures(path: str, text: str, before: str = "") -> tuple[Probe, ...]:
    """Calls of the public functions of a product file that the base's text has not so, with
    usual edges of the types that their hints name. None where a hint is missing or not known."""
    try:
        return _of_signatures(path, text, before)
    except RecursionError:
        return ()


def _of_signatures(path: str, text: str, before: str) -> tuple[Probe, ...]:
    module, old = parsed(text), parsed(before)
    known = {ast.dump(n) for n in old.body} if old else set()
    parts = PurePosixPath(path).with_suffix("").parts
    parts = parts[1:] if parts[:1] == ("src",) else parts
    if not parts or not all(p.isidentifier() for p in parts):
        return ()
    dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    found: list[Probe] = []
    for node in module.body if module else ():
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if not node.decorator_list and ast.dump(node) not in known:
            line = f"from {dotted} import {node.name}"
            found += [Probe((line,), f"{node.name}({a})") for a in _arguments(node.args)]
    return tuple(found)


def _arguments(given: ast.arguments) -> list[str]:
    if given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs:
        return []
    needed = given.args[: len(given.args) - len(given.defaults)]
    choices = [_values(a.annotation) for a in needed]
    if not choices or not all(choices):
        return []
    # Not every combination: each argument goes through its values at its own pace.
    sets = [
        ", ".join(c[(turn + place * (turn > 0)) % len(c)] for place, c in enumerate(choices))
        for turn in range(3 * _SETS)  # some come twice
    ]
    return list(dict.fromkeys(sets))[:_SETS]


def _values(hint: ast.expr | None) -> tuple[str, ...]:
    if isinstance(hint, ast.Name):
        return _VALUES.get(hint.id, ())
    if isinstance(hint, ast.BinOp) and isinstance(hint.op, ast.BitOr):
        sides = [_values(s) or (("None",) if _is_none(s) else ()) for s in (hint.left, hint.right)]
        return (*sides[0], *sides[1]) if all(sides) else ()
    if isinstance(hint, ast.Subscript) and isinstance(hint.value, ast.Name):
        return _of_container(hint.value.id, hint.slice)
    return ()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _of_container(name: str, inner: ast.expr) -> tuple[str, ...]:
    if name in {"list", "Sequence", "Iterable", "Collection"}:
        values = _values(inner)
        return ("[]", f"[{values[0]}]", f"[{', '.join(values)}]") if values else ()
    if name in {"dict", "Mapping"} and isinstance(inner, ast.Tuple) and len(inner.elts) == 2:
        keys, values = _values(inner.elts[0]), _values(inner.elts[1])
        pairs = ", ".join(f"{k}: {v}" for k, v in zip(keys, values, strict=False))
        return ("{}", f"{{{pairs}}}") if pairs else ()
    return ()
