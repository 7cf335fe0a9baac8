"""Reading attempts' tests: what is new, what says the same, what tells; hostile text is no test."""

from orchestrator.verify.crossing import MAX_TEXT, OwnTest, most_telling, new_tests, worth_running

TEXT = """
import pytest

def test_sum():
    assert total([1]) == 1

class TestMore:
    @pytest.mark.parametrize("n", [1, 2])
    def test_many(self, n):
        assert n

    def helper(self): ...

def helper(): ...
"""


def own(author: str, body: str, name: str = "test_x") -> OwnTest:
    (test,) = new_tests(author, "t.py", f"def {name}():\n    {body}\n")
    return test


def test_functions_and_methods_are_named_as_pytest_names_them() -> None:
    names = [t.name for t in new_tests("a", "t.py", TEXT)]
    assert names == ["test_sum", "TestMore::test_many"]


def test_what_the_base_has_is_not_new_even_when_it_was_renamed() -> None:
    before = "def test_old_name():\n    '''Told.'''\n    assert total([1]) == 1\n"
    assert [t.name for t in new_tests("a", "t.py", TEXT, before)] == ["TestMore::test_many"]


def test_hostile_text_has_no_tests() -> None:
    for text in ("def test_x(:", "\0", "x" * (MAX_TEXT + 1), "(" * 5000, "-" * 5000 + "1"):
        assert new_tests("a", "t.py", text) == ()
    deep = "def test_x():\n    return " + "+".join("1" * 5000)
    assert len(new_tests("a", "t.py", deep)) <= 1


def test_what_two_say_is_run_once_and_counts_twice_but_nobody_counts_twice_alone() -> None:
    twice = worth_running([own("a", "assert f(1)"), own("b", "assert f(1)", "test_y")], 9)
    assert [(t.author, t.times) for t in twice] == [("a", 2)]
    alone = worth_running([own("a", "assert f(1)"), own("a", "assert f(1)", "test_y")], 9)
    assert [(t.author, t.times) for t in alone] == [("a", 1)]


def test_nobody_crowds_out_the_others() -> None:
    many = [own("a", f"assert f({i})", f"test_{i}") for i in range(50)]
    chosen = worth_running([*many, own("b", "assert g()")], 4)
    assert [t.author for t in chosen] == ["a", "b", "a", "a"]


def test_what_divides_most_evenly_comes_first_and_what_tells_nothing_is_left_out() -> None:
    half, one, all_, failed, unknown = (own("a", f"assert f({i})") for i in range(5))
    said = {
        half: {"a": True, "b": True, "c": False, "d": False, "e": True},
        one: {"a": True, "b": True, "c": True, "d": True, "e": False},
        all_: {"a": True, "b": True, "c": True, "d": True, "e": True},
        failed: {"a": False, "b": True, "c": False, "d": False, "e": False},
        unknown: {"a": True, "b": None, "c": True},
    }
    assert most_telling(said, "abcde") == (half, one)
