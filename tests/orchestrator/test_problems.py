"""Problems of a text as lines: in order, once, not too many, with the name that was meant."""

from orchestrator.json_lines import Lines
from orchestrator.problems import PROBLEM_LIMIT, Problem, nearest, told

TEXT = "a\nb\nc\n"


def test_in_the_order_of_the_text_and_each_once() -> None:
    later, sooner = Problem(4, "c", "is no number; write one"), Problem(0, "", "is empty")
    assert told([later, sooner, later], Lines(TEXT)) == (
        "line 1: is empty",
        "line 3, c: is no number; write one",
    )


def test_those_beyond_the_limit_are_counted() -> None:
    lines = told([Problem(0, "", str(n)) for n in range(PROBLEM_LIMIT + 3)], Lines(TEXT))
    assert len(lines) == PROBLEM_LIMIT + 1
    assert lines[-1] == "and 3 more; mend these first"


def test_the_nearest_name_whatever_its_case_and_none_that_is_far() -> None:
    assert nearest("Api", ["api\n", "ui"], "remove it") == 'did you mean "api\\n"?'
    assert nearest("deploy", ["depends_on"], "remove it") == "remove it"
