"""What a patch's own tests prove, in words."""

import pytest

from orchestrator.tickets.reproduction import Seen, told

GOOD = Seen("t.py::test_a", False, True, why="IndexError: list index out of range")


def test_a_bug_that_is_shown_is_told_with_its_failure() -> None:
    lines, open_ = told([GOOD], bug=True)
    assert "test_a fails without the change (IndexError: list" in lines[0]
    assert open_ == ()


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Seen("t.py::test_a", True, True), "count for nothing: t.py::test_a"),
        (Seen("t.py::test_a", False, False), "fail with the change: t.py::test_a"),
        (Seen("t.py::test_a", False, True, ran_before=False), "cannot be imported"),
        (Seen("t.py::test_a", None, True), "the bug itself"),
        (Seen("t.py::test_a", False, None), "the bug itself"),
    ],
)
def test_what_proves_nothing_is_said_to(seen: Seen, says: str) -> None:
    lines, open_ = told([seen], bug=True)
    assert lines == ()
    assert "the bug itself" in open_[0]
    assert any(says in line for line in open_)


def test_a_feature_may_be_tested_by_what_was_not_there_before() -> None:
    lines, open_ = told([Seen("t.py::test_a", False, True, ran_before=False)], bug=False)
    assert (len(lines), open_) == (1, ())
    assert told([], bug=False) == ((), ())


def test_many_are_not_all_listed_and_words_stay_on_their_line() -> None:
    lines, _ = told([Seen(f"t.py::test_{n}", False, True, why="a\nb") for n in range(9)], bug=True)
    assert len(lines) == 6
    assert "4 more tests" in lines[-1]
    assert not any("\n" in line for line in lines)
