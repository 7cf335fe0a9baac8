"""Evidence on file and as the selector sees it."""

from pathlib import Path

from harness.verify import record
from orchestrator.selector import select
from orchestrator.values import CheckResult, Verification

FULL = Verification(
    usable=True,
    acceptance=(CheckResult("pytest", True, "", 0.5), CheckResult("true", False, "exit 1")),
    regressions=("tests/test_a.py::test_b",),
    coverage=0.5,
    quality=None,
    seconds=1.5,
    problems=("true: exit 1",),
)


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    assert record.load(tmp_path) is None
    record.store(tmp_path, FULL)
    assert record.load(tmp_path) == FULL


def test_evidence_keeps_unmeasured_apart_from_zero() -> None:
    made = record.evidence("r1-a01", FULL, None)
    assert made.acceptance == (True, False)
    assert (made.coverage, made.quality, made.cost_usd) == (0.5, None, None)
    assert select([made]).winner is None
