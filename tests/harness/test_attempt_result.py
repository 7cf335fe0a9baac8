"""What came of an attempt's agent, as it is kept and read again."""

from pathlib import Path

from harness import attempt_result
from orchestrator.values import AttemptKey, AttemptResult

KEY = AttemptKey("a", 1, 1)


def test_a_result_that_a_power_cut_spoilt_is_none(tmp_path: Path) -> None:
    done = AttemptResult(KEY, "limit", "60 turns used", turns=60, cost_usd=None)
    attempt_result.store(tmp_path / "new", done)
    assert attempt_result.load(tmp_path / "new") == done
    (tmp_path / "new" / "attempt.json").write_text('{"key":')
    assert attempt_result.load(tmp_path / "new") is None
