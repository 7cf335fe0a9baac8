"""Quality as a formula: what each flaw costs, and that only what got worse is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.verify.quality import (
    RUN,
    WEIGHTS,
    FileMeasure,
    duplicated,
    excess_complexity,
    new,
    parts,
    quality,
)


def measure(path: str = "a.py", lint: int = 0, **complexity: int) -> FileMeasure:
    return FileMeasure(path, lint, complexity, security=0)


class TestParts:
    def test_a_clean_patch_is_perfect_but_for_its_size(self) -> None:
        found = parts([measure(f=3)], [measure(f=4)], added_lines=0, new_duplicates=0)
        assert found == dict.fromkeys(["lint", "complexity", "security", "duplication", "size"], 1)
        assert quality(found) == 1.0

    def test_what_was_not_measured_is_left_out_and_not_zero(self) -> None:
        found = parts([], [FileMeasure("a.py", lint=0)], added_lines=0)
        assert found == {"lint": 1.0, "size": 1.0}
        assert quality(found) == 1.0

    def test_nothing_measurable_is_none(self) -> None:
        assert quality(parts([measure()], [], added_lines=3)) is None
        assert quality(parts([], [FileMeasure("a.py")], added_lines=3)) is None

    def test_the_documented_values(self) -> None:
        after = FileMeasure("a.py", lint=4, complexity={"f": 20}, security=4, types=4)
        found = parts([], [after], added_lines=40, new_duplicates=10)
        assert found == pytest.approx(
            {
                "lint": 0.5,
                "complexity": 0.5,
                "security": 0.5,
                "types": 0.5,
                "duplication": 0.75,
                "size": 500 / 540,
            }
        )
        assert quality(found) == pytest.approx((85 * 0.5 + 10 * 0.75 + 5 * 500 / 540) / 100)
        assert sum(WEIGHTS.values()) == 100

    def test_few_lines_are_judged_as_ten(self) -> None:
        one = parts([], [measure(lint=1)], added_lines=1)
        assert one["lint"] == parts([], [measure(lint=1)], added_lines=10)["lint"]

    def test_negative_lines_are_refused(self) -> None:
        with pytest.raises(ValueError, match="added_lines"):
            parts([], [measure()], added_lines=-1)


def test_old_findings_are_not_the_patchs_fault() -> None:
    assert new("lint", [measure(lint=50)], [measure(lint=50)]) == 0


def test_mending_one_file_buys_no_flaw_in_another() -> None:
    before = [measure("a.py", 5), measure("b.py", 0)]
    after = [measure("a.py", 0), measure("b.py", 2)]
    assert new("lint", before, after) == 2


def test_complexity_counts_above_the_ceiling_only() -> None:
    assert excess_complexity([], [measure(f=10, g=13)]) == 3


def test_a_complex_function_may_stay_as_it_was_but_not_grow() -> None:
    assert excess_complexity([measure(f=30)], [measure(f=30)]) == 0
    assert excess_complexity([measure(f=30)], [measure(f=32)]) == 2


def test_duplicates_are_runs_of_lines_that_stand_twice() -> None:
    lines = [f"x{n} = {n}" for n in range(RUN)]
    block = "\n".join(lines)
    other = "\n\n".join(f"    {line}  " for line in lines) + "\n# a remark\ny = 1"
    assert duplicated([block]) == 0
    assert duplicated([block, other]) == 2 * RUN
    assert duplicated([f"{block}\nz = 0\n{block}"]) == 2 * RUN
    assert duplicated(["\n".join(lines[:-1])] * 2) == 0


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 80), st.integers(0, 1000))
def test_always_a_share_and_never_better_for_more_flaws(
    lint: int, more: int, complexity: int, lines: int
) -> None:
    low = quality(parts([], [measure(lint=lint + more, f=complexity)], added_lines=lines))
    high = quality(parts([], [measure(lint=lint, f=complexity)], added_lines=lines))
    assert low is not None
    assert high is not None
    assert 0 < low <= high <= 1
