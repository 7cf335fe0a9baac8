"""Signatures of real outputs: pytest, unittest, Python, Node, Go and shells, as printed."""

from pathlib import Path

import pytest

from orchestrator.learn import failure_kinds
from orchestrator.learn.signatures import Failed, Signature, sign
from tests.orchestrator.learn.test_signatures import ENDINGS, EXAM

OUTPUTS = Path(__file__).parent / "outputs"
ROOTS = ("/workspace",)

#: output -> kind, type of the error, innermost frame in the repository, masked message.
TABLE = (
    ("go_assertion", "assertion", "test failure", "cart_test:TestTotal", "Total() = <n>, want <n>"),
    (
        "go_deadlock",
        "deadlock",
        "fatal error",
        "main:wait",
        "all goroutines are asleep - deadlock!",
    ),
    ("go_divide", "division", "panic", "cart:Total", "runtime error: integer divide by zero"),
    (
        "go_index",
        "out-of-range",
        "panic",
        "cart:Total",
        "runtime error: index out of range [<n>] with length <n>",
    ),
    (
        "go_nil",
        "none",
        "panic",
        "cart:(*Cart).Count",
        "runtime error: invalid memory address or nil pointer dereference",
    ),
    ("go_undefined", "build", "build failed", "cart", "undefined: summ"),
    (
        "mypy_types",
        "types",
        "",
        "",
        "main.py:<n>: error: Incompatible return value type (got 'int', expected 'str') "
        "[return-value]",
    ),
    (
        "node_file",
        "missing-file",
        "Error",
        "app:rates",
        "ENOENT: no such file or directory, open 'rates.csv'",
    ),
    (
        "node_json",
        "json",
        "SyntaxError",
        "app:read",
        "Unexpected token <text>, <text> is not valid JSON",
    ),
    ("node_missing_module", "missing-module", "Error", "app", "Cannot find module 'left-pad'"),
    (
        "node_not_a_function",
        "missing-attribute",
        "TypeError",
        "app:main",
        "shop.open is not a function",
    ),
    (
        "node_port",
        "port-in-use",
        "Error",
        "app",
        "listen EADDRINUSE: address already in use :::<n>",
    ),
    ("node_recursion", "recursion", "RangeError", "app:f", "Maximum call stack size exceeded"),
    ("node_reference", "undefined-name", "ReferenceError", "app:price", "itm is not defined"),
    (
        "node_test_assertion",
        "assertion",
        "AssertionError",
        "cart.test",
        "Expected values to be strictly equal: <n> !== <n>",
    ),
    (
        "node_test_undefined",
        "none",
        "TypeError",
        "cart:total",
        "Cannot read properties of undefined (reading 'items')",
    ),
    (
        "pytest_arguments",
        "wrong-arguments",
        "TypeError",
        "tests.test_cart:test_total",
        "total() takes <n> positional arguments but <n> was given",
    ),
    (
        "pytest_assertion",
        "assertion",
        "AssertionError",
        "tests.test_cart:test_total",
        "assert <n> == <n>",
    ),
    (
        "pytest_attribute",
        "missing-attribute",
        "AttributeError",
        "shop.cart:total",
        "'Cart' object has no attribute 'sum'",
    ),
    (
        "pytest_connection",
        "connection",
        "ConnectionRefusedError",
        "shop.cart:total",
        "[Errno <n>] Connection refused",
    ),
    ("pytest_deep", "missing-key", "KeyError", "shop.cart:price", "'x'"),
    ("pytest_division", "division", "ZeroDivisionError", "shop.cart:total", "division by zero"),
    (
        "pytest_encoding",
        "encoding",
        "UnicodeDecodeError",
        "shop.cart:total",
        "'utf-<n>' codec can't decode byte <hex> in position <n>: invalid start byte",
    ),
    ("pytest_exit", "early-exit", "SystemExit", "shop.cart:total", "<n>"),
    (
        "pytest_file",
        "missing-file",
        "FileNotFoundError",
        "shop.cart:total",
        "[Errno <n>] No such file or directory: <text>",
    ),
    ("pytest_fixture", "missing-fixture", "", "", "fixture 'basket' not found"),
    ("pytest_index", "out-of-range", "IndexError", "shop.cart:total", "list index out of range"),
    (
        "pytest_json",
        "json",
        "JSONDecodeError",
        "shop.cart:total",
        "Expecting value: line <n> column <n> (char <n>)",
    ),
    (
        "pytest_missing_module",
        "missing-module",
        "ModuleNotFoundError",
        "shop.cart",
        "No module named 'docopt_not_here'",
    ),
    (
        "pytest_missing_name",
        "missing-name-in-module",
        "ImportError",
        "tests.test_cart",
        "cannot import name 'total' from 'shop.cart' (shop/cart.py)",
    ),
    (
        "pytest_name",
        "undefined-name",
        "NameError",
        "shop.cart:total",
        "name 'carts' is not defined",
    ),
    (
        "pytest_none",
        "none",
        "AttributeError",
        "shop.cart:total",
        "'NoneType' object has no attribute 'price'",
    ),
    ("pytest_none_collected", "nothing-ran", "", "", "no test ran and passed: no tests ran in <n>"),
    (
        "pytest_not_implemented",
        "not-implemented",
        "NotImplementedError",
        "shop.cart:total",
        "NotImplementedError",
    ),
    ("pytest_own_error", "other", "CartError", "shop.cart:total", "cart <n> is empty since <time>"),
    (
        "pytest_permission",
        "permission",
        "PermissionError",
        "shop.cart:total",
        "[Errno <n>] Permission denied: <text>",
    ),
    (
        "pytest_port",
        "port-in-use",
        "OSError",
        "shop.cart:total",
        "[Errno <n>] Address already in use (while attempting to bind on address (<text>, <n>))",
    ),
    (
        "pytest_raises",
        "assertion",
        "Failed",
        "tests.test_cart:test_total",
        "Failed: DID NOT RAISE ValueError",
    ),
    (
        "pytest_recursion",
        "recursion",
        "RecursionError",
        "shop.cart:total",
        "maximum recursion depth exceeded",
    ),
    ("pytest_syntax", "syntax", "SyntaxError", "shop.cart", "expected <text>"),
    ("pytest_timeout_error", "timeout", "TimeoutError", "shop.cart:ask", "TimeoutError"),
    (
        "pytest_type",
        "wrong-type",
        "TypeError",
        "shop.cart:total",
        "can only concatenate str (not 'int') to str",
    ),
    (
        "pytest_value",
        "value",
        "ValueError",
        "shop.cart:total",
        "invalid literal for int() with base <n>: <text>",
    ),
    ("python_syntax", "syntax", "SyntaxError", "main", "expected <text>"),
    (
        "python_traceback",
        "none",
        "AttributeError",
        "main:go",
        "'NoneType' object has no attribute 'items'",
    ),
    ("ruff_lint", "lint", "", "", "Found <n> error."),
    (
        "shell_bash_not_found",
        "command-not-found",
        "",
        "",
        "check.sh: line <n>: frobnicate: command not found",
    ),
    ("shell_no_file", "missing-file", "", "", "cat: rates.csv: No such file or directory"),
    ("shell_not_found", "command-not-found", "", "", "check.sh: <n>: frobnicate: not found"),
    (
        "shell_syntax",
        "syntax",
        "",
        "",
        "check.sh: <n>: Syntax error: end of file unexpected (expecting 'fi')",
    ),
    (
        "unittest_assertion",
        "assertion",
        "AssertionError",
        "tests.test_cart:test_total",
        "<n> != <n>",
    ),
    (
        "unittest_import",
        "missing-module",
        "ModuleNotFoundError",
        "shop.cart",
        "No module named 'nothing_here'",
    ),
    ("unittest_key", "missing-key", "KeyError", "shop.cart:total", "'x'"),
)

NAMES = [row[0] for row in TABLE]


def output(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text("utf-8")


def problem(name: str) -> str:
    """The line that verification makes of such an output: see harness/verify/checks.py."""
    text = output(name)
    if not name.startswith("pytest"):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"{EXAM}: exit {127 if 'not found' in text else 1}: {' | '.join(lines[-3:])}"
    if "ERROR collecting" in text:
        return f"{EXAM}: the tests ended with exit 2 before any result: 1 error in 0.25s"
    told = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    if not told:
        return f"{EXAM}: no test ran and passed: {text.splitlines()[-1]}"
    inside = "TestCart::test_total" if "class TestCart" in text or name == "pytest_none" else ""
    test = f"tests/test_cart.py::{inside or 'test_total'}"
    said = told[-1] if name == "pytest_timeout_error" else told[0]
    return f"{EXAM}: {test}: cart.py:5: {said} (and 2 more)"


def signed(name: str) -> Signature:
    failed = Failed(
        problems=(problem(name), "not run: the project's tests, coverage, quality"),
        output=output(name),
        commands=(EXAM,),
        roots=ROOTS,
    )
    (found,) = sign(failed)
    return found


@pytest.mark.parametrize(("name", "kind", "error", "where", "message"), TABLE, ids=NAMES)
def test_real_outputs(name: str, kind: str, error: str, where: str, message: str) -> None:
    found = signed(name)
    assert (found.kind, found.error, found.where, found.message) == (kind, error, where, message)


def test_every_output_is_in_the_table() -> None:
    assert {path.stem for path in OUTPUTS.glob("*.txt")} == set(NAMES)


def test_different_failures_have_different_keys() -> None:
    keys = {signed(name).key for name in NAMES}
    # The two shells that miss a command differ in their words, and so does everything else.
    assert len(keys) == len(NAMES)


def test_the_failing_test_is_kept_apart() -> None:
    found = signed("pytest_deep")
    assert found.test == "tests/test_cart.py::test_total"
    assert found.key == Signature(found.kind, found.error, found.where, found.message).key


@pytest.mark.parametrize("name", ["pytest_deep", "unittest_key", "node_reference", "go_index"])
def test_lines_numbers_addresses_and_folders_do_not_matter(name: str) -> None:
    moved = output(name).replace(":2", ":41").replace("line 2", "line 941").replace("0x", "0x9")
    text = problem(name).replace("cart.py:5", "cart.py:77")
    elsewhere = moved.replace("/workspace", "/home/agent/build")
    (other,) = sign(
        Failed(problems=(text,), output=elsewhere, commands=(EXAM,), roots=("/home/agent/build",))
    )
    assert other.key == signed(name).key


def test_a_planted_failing_test_is_not_taken_for_the_attempts() -> None:
    planted = output("pytest_deep").replace(
        "=========================== short",
        "____ test_d0bb43e0 ____\n\n    def test_d0bb43e0():\n>       assert left == 3\n"
        "E       assert 2 == 3\n\ntests/test_39fe.py:7: AssertionError\n===== short",
    )
    failed = Failed(problems=(problem("pytest_deep"),), output=planted, commands=(EXAM,))
    assert sign(failed)[0].key == signed("pytest_deep").key


def test_at_least_twenty_five_kinds_are_told_apart() -> None:
    shown_here = {row[1] for row in TABLE} | {row[3] for row in ENDINGS if row[3]}
    assert len(shown_here) >= 25
    assert shown_here <= {kind.name for kind in failure_kinds.KINDS} | {"other"}
    # The roadmap's own: ImportError, TestFailure, TimeoutError.
    assert {"missing-module", "assertion", "timeout"} <= shown_here
