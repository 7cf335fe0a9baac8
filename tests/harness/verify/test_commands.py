"""Which shell lines are pytest, and which files are tests."""

import pytest

from harness.verify.commands import is_test_file, is_test_module, read_command, runner


@pytest.mark.parametrize(
    "line",
    [
        "pytest",
        "py.test -q",
        "python -m pytest -q tests/test_a.py",
        "python3.12 -X dev -m pytest",
        "PYTHONPATH=src A='b c' pytest -q",
        "env A=1 python -m pytest",
        ".venv/bin/pytest tests",
        "cd backend && python -m pytest tests",
        "pip install -e . && pytest",
    ],
)
def test_one_strict_run(line: str) -> None:
    (run,) = read_command(line)
    assert run.strict
    assert run.line == line
    assert run.moves == ("&&" in line)


@pytest.mark.parametrize("line", ["pytest | tail -3", "pytest; true", "pytest || true", "pytest &"])
def test_a_run_whose_status_is_not_the_lines(line: str) -> None:
    (run,) = read_command(line)
    assert not run.strict


@pytest.mark.parametrize(
    "line",
    [
        "true",
        "make test",
        "echo pytest",
        "python -I -m unittest",
        "python -I -m pytest",
        "python -m pytest_benchmark",
        "cat tests/pytest",
        "pytest 'never closed",
        "pytest a; pytest b",
        "pytest $A && pytest b",
        "",
    ],
)
def test_what_is_decided_by_exit_status_alone(line: str) -> None:
    assert read_command(line) == ()


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ("python -m unittest", ()),
        ("A=1 python3.12 -W error -m unittest -v tests.test_a tests/test_b.py", None),
        ("python -m unittest discover -s tests", ()),
    ],
)
def test_unittest_runs(line: str, chosen: tuple[str, ...] | None) -> None:
    (run,) = read_command(line)
    assert run.tool == "unittest"
    assert run.strict
    assert run.chosen == (("tests.test_a", "tests/test_b.py") if chosen is None else chosen)


def test_two_runs_are_taken_apart() -> None:
    first, second = read_command("A='b c' pytest 'x y' && python -m pytest z")
    assert first.line == "A='b c' pytest 'x y'"
    assert second.line == "python -m pytest z"
    assert first.strict
    assert not second.moves


def test_what_is_chosen() -> None:
    (run,) = read_command("pytest tests/a.py::test_x tests/b.py -k 'one or two'")
    assert run.chosen == ("tests/a.py::test_x",)
    assert run.filtered
    assert not read_command("pytest tests/a.py")[0].filtered


@pytest.mark.parametrize(
    "path",
    [
        "tests/a.json",
        "a/test/b.py",
        "conftest.py",
        "x/test_a.py",
        "src/a.spec.js",
        "a/b.test.ts",
        "x/__tests__/a.js",
        "a_test.go",
        "t/a.t",
    ],
)
def test_tests_and_what_supports_them(path: str) -> None:
    assert is_test_file(path)


@pytest.mark.parametrize("path", ["shop/a.py", "testing.py", "contest.py", "tests", "latest/a.py"])
def test_product(path: str) -> None:
    assert not is_test_file(path)


def test_modules() -> None:
    assert is_test_module("a/test_b.py")
    assert is_test_module("b_test.py")
    assert not is_test_module("tests/data.py")


KNOWN = ("tests/test_a.py", "test_b.py", "python/tests/test_c.py")


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        (None, "python -m pytest -q"),
        ("make test", "python -m pytest -q"),
        ("python -m unittest", "python -m pytest -q"),
        ("cd src && pytest", "python -m pytest -q"),
        ("pytest -k fast tests", "python -m pytest -q"),
        ("pytest -m 'not slow'", "python -m pytest -q"),
        ("pytest $OPTIONS", "python -m pytest -q"),
        ("pytest | tail -3", "python -m pytest -q"),
        ("python -m pytest -q -o addopts= tests", "python -m pytest -q -o addopts=''"),
        ("PYTHONPATH='a b' pytest ./tests/ test_b.py::test_x", "PYTHONPATH='a b' pytest"),
        ("python -m pytest -x --maxfail=1 -p no:randomly .", "python -m pytest -p no:randomly"),
        ("python -m pytest python", "python -m pytest"),
    ],
)
def test_other_tests_are_run_as_the_project_runs_its_own(line: str | None, runs: str) -> None:
    assert runner(line, KNOWN) == runs
