"""Judging a report by what was expected, without running anything."""

import json
from dataclasses import replace

import pytest

from harness.ports import ExecResult
from harness.verify.judging import judge
from harness.verify.suite import Expected, Skip, TestRun, _read


def run(*, status: int = 0, reported: int | None = 0, **tests: str) -> TestRun:
    return TestRun(
        ExecResult(status, b"", b""),
        reported,
        {i: (outcome, "why") for i, outcome in tests.items()},
    )


def test_all_expected_passed() -> None:
    assert judge(Expected({"a": False, "b": False}), run(a="passed", b="passed")) == []


@pytest.mark.parametrize("outcome", ["skipped", "xfailed", "failed"])
def test_anything_less_than_passed_is_bad(outcome: str) -> None:
    assert len(judge(Expected({"a": False}), run(a=outcome))) == 1


def test_missing_is_bad() -> None:
    assert judge(Expected({"a": True}), run(b="passed")) == [("a", "did not run")]


def test_what_the_base_skips_may_be_skipped_but_not_fail() -> None:
    wanted = Expected({"a": True, "b": False})
    assert judge(wanted, run(a="skipped", b="passed")) == []
    assert judge(wanted, run(a="xfailed", b="passed")) == []
    assert judge(wanted, run(a="failed", b="passed")) == [("a", "why")]


def test_a_test_read_from_text_stands_for_all_its_cases() -> None:
    wanted = Expected({"t.py::f": False}, frozenset({"t.py::f"}))
    good = {"t.py::f[1]": "passed", "t.py::f[2]": "passed"}
    assert judge(wanted, run(**good)) == []
    assert judge(wanted, run(**good, **{"t.py::f[3]": "failed"})) == [("t.py::f[3]", "why")]
    assert judge(wanted, run(**{"t.py::fg": "passed"})) == [("t.py::f", "did not run")]


@pytest.mark.parametrize(
    ("files", "said", "suspects", "fine"),
    [
        ({"tests/t.py"}, True, {"shop/a.py"}, True),
        ({"tests/t.py"}, False, set(), False),
        ({"tests/t.py", "shop/a.py"}, True, {"shop/a.py"}, False),
        ({"tests/t.py", "shop/a.py"}, True, {"shop/b.py"}, True),
    ],
)
def test_who_gave_a_test_up(files: set[str], said: bool, suspects: set[str], fine: bool) -> None:
    seen = replace(run(a="passed", b="skipped"), skips={"b": Skip(frozenset(files), said)})
    assert (judge(Expected({"a": False, "b": False}), seen, suspects) == []) is fine
    assert (judge(Expected({"a": False}), seen, suspects) == []) is fine


def test_one_expected_test_must_pass() -> None:
    seen = replace(run(a="skipped", b="passed"), skips={"a": Skip(frozenset({"t"}), True)})
    assert len(judge(Expected({"a": False}), seen)) == 1


def test_what_options_leave_out_need_not_run() -> None:
    wanted = Expected({"t::a": False, "t::b": False}, frozenset({"t::a", "t::b"}))
    seen = replace(run(**{"t::a[1]": "passed"}), left_out=frozenset({"t::b[1]"}))
    assert judge(wanted, seen) == []


@pytest.mark.parametrize(
    ("seen", "fine"),
    [
        (run(a="passed"), True),
        (run(status=1, reported=1, a="failed"), True),
        (run(status=0, reported=1, a="failed"), False),
        (run(status=0, reported=0, a="failed"), False),
        (run(status=1, reported=1, a="passed"), False),
        (run(status=0, reported=None), False),
    ],
)
def test_exit_status_and_report_must_agree(seen: TestRun, fine: bool) -> None:
    assert seen.consistent is fine


@pytest.mark.parametrize(
    "out",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps({"exit": "x", "tests": [], "collected": [], "lines": {}}).encode(),
        json.dumps({"exit": 0, "tests": [1], "collected": [], "lines": {}}).encode(),
        json.dumps({"exit": 0, "tests": [], "collected": [], "lines": {"a": 1}}).encode(),
        json.dumps({"exit": 0, "tests": {}, "collected": None, "lines": {}}).encode(),
    ],
)
def test_what_is_not_a_report_is_none(out: bytes) -> None:
    seen = _read(ExecResult(0, out, b""), out.splitlines())
    assert seen.reported is None
    assert seen.passed == frozenset()
