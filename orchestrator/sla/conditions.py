"""Alert conditions: refused at load unless they are plain comparisons of known numbers.

The allowlist stands before `simpleeval`, which evaluates what is left of Python: without it
`x.real`, strings, functions and powers would be read too.
"""

import ast
from collections.abc import Collection, Mapping

_NODES = (
    ast.Expression,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.BinOp,
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.Compare,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.Eq,
    ast.NotEq,
    ast.Name,
    ast.Load,
    ast.Constant,
)
_CHARS = 500
_NODE_LIMIT = 200
#: Above any threshold in any unit, and exactly held by a float.
_NUMBER_LIMIT = 1e15


def check(text: str, known: Collection[str]) -> tuple[str, ...]:
    """The names in a condition, sorted. Raises `ValueError`: what is wrong; what to write.

    Names outside of `known` are left to the caller, who knows where the nearest are: they are
    part of the result. `known` is only used to tell words from names in messages.
    """
    if len(text) > _CHARS:
        raise ValueError(f"is longer than {_CHARS} characters; write several alerts instead")
    tree = _parsed(text)
    nodes = list(ast.walk(tree))
    if len(nodes) > _NODE_LIMIT:
        raise ValueError("has too many parts; write several alerts instead")
    for node in nodes:
        _refuse(node)
    if not _is_truth(tree.body):
        raise ValueError("does not compare anything; write something like delay > 300")
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    if not names:
        example = next(iter(sorted(known)), "delay")
        raise ValueError(f"names nothing that is measured; write something like {example} > 300")
    return tuple(sorted(names))


def holds(text: str, values: Mapping[str, float | None]) -> bool | None:
    """Whether a checked condition is true; None when one of its values is missing, or it divides
    by zero: it is not known then. Raises `KeyError` for a name that `values` does not have."""
    from simpleeval import SimpleEval  # noqa: PLC0415 - only those who have conditions need it

    tree = _parsed(text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    known = {name: values[name] for name in names}
    if any(value is None for value in known.values()):
        return None
    evaluator = SimpleEval(operators=_operators(), functions={}, names=known)
    try:
        return bool(evaluator.eval(text.strip()))
    except ZeroDivisionError:
        return None


def _parsed(text: str) -> ast.Expression:
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("is no comparison; write something like delay > 300") from None


def _refuse(node: ast.AST) -> None:
    if not isinstance(node, _NODES):
        kind = type(node).__name__
        raise ValueError(
            f"holds {kind}, which conditions may not; only names, numbers, true comparisons, "
            "and, or, not, + - * / are read"
        )
    if isinstance(node, ast.Constant):
        value = node.value
        # bool is an int; str, bytes, None, complex and ... are none of these.
        if not isinstance(value, int | float) or not abs(value) <= _NUMBER_LIMIT:
            raise ValueError(
                f"holds {str(node.value)[:40]!r}; write numbers up to {_NUMBER_LIMIT:.0e} only"
            )


def _is_truth(node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(_is_truth(value) for value in node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _is_truth(node.operand)
    return isinstance(node, ast.Compare)


def _operators() -> Mapping[type, object]:
    from simpleeval import DEFAULT_OPERATORS  # noqa: PLC0415

    return {kind: DEFAULT_OPERATORS[kind] for kind in _NODES if kind in DEFAULT_OPERATORS}
