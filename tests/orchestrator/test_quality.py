"""Quality as a formula: what each flaw costs, and that only what got worse is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.quality import FileMeasure, excess_complexity, new_findings, quality


def measure(path: str = "a.py", findings: int = 0, **complexity: int) -> FileMeasure:
    return FileMeasure(path, findings, complexity)


def test_a_clean_patch_is_perfect() -> None:
    assert quality([measure(f=3)], [measure(f=4)], added_lines=5) == 1.0


def test_nothing_measurable_is_none() -> None:
    assert quality([measure()], [], added_lines=3) is None


def test_one_finding_per_ten_added_lines_halves_the_lint_part() -> None:
    got = quality([measure()], [measure(findings=4)], added_lines=40)
    assert got == pytest.approx(0.6 * 0.5 + 0.4)


def test_few_lines_are_judged_as_ten() -> None:
    one = quality([], [measure(findings=1)], added_lines=1)
    assert one == quality([], [measure(findings=1)], added_lines=10)


def test_old_findings_are_not_the_patchs_fault() -> None:
    assert quality([measure(findings=50)], [measure(findings=50)], added_lines=2) == 1.0


def test_mending_one_file_buys_no_flaw_in_another() -> None:
    before = [measure("a.py", 5), measure("b.py", 0)]
    after = [measure("a.py", 0), measure("b.py", 2)]
    assert new_findings(before, after) == 2


def test_complexity_counts_above_the_ceiling_only() -> None:
    assert excess_complexity([], [measure(f=10, g=13)]) == 3
    assert quality([], [measure(g=20)], added_lines=10) == pytest.approx(0.6 + 0.4 * 0.5)


def test_a_complex_function_may_stay_as_it_was_but_not_grow() -> None:
    assert excess_complexity([measure(f=30)], [measure(f=30)]) == 0
    assert excess_complexity([measure(f=30)], [measure(f=32)]) == 2


def test_negative_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="added_lines"):
        quality([], [measure()], added_lines=-1)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 80), st.integers(0, 1000))
def test_always_a_share_and_never_better_for_more_flaws(
    findings: int, more: int, complexity: int, lines: int
) -> None:
    low = quality([], [measure(findings=findings + more, f=complexity)], added_lines=lines)
    high = quality([], [measure(findings=findings, f=complexity)], added_lines=lines)
    assert low is not None
    assert high is not None
    assert 0 < low <= high <= 1
