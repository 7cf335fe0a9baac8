"""Circles are told from work: by repetition, by alternation, by nothing new."""

from orchestrator.runs import stuck
from orchestrator.runs.stuck import Turn


def turn(call: str, result: str = "ok") -> Turn:
    return Turn((call,), (result,))


def test_the_same_thing_again_and_again() -> None:
    same = [turn("make")] * stuck.REPEATS
    assert stuck.reason(same[1:]) is None
    assert "same calls" in (stuck.reason([turn("ls"), *same]) or "")


def test_a_command_whose_result_changes_is_work() -> None:
    assert stuck.reason([turn("pytest", f"{n} failed") for n in range(40, 0, -1)]) is None


def test_two_turns_that_take_turns() -> None:
    there_and_back = [turn("edit a b"), turn("edit b a")] * stuck.ALTERNATIONS
    assert stuck.reason(there_and_back[2:]) is None
    assert "two turns" in (stuck.reason(there_and_back) or "")


def test_nothing_new_for_long() -> None:
    files = [turn(f"cat {n}", str(n)) for n in range(7)]
    again = [files[n % 7] for n in range(stuck.STALE)]
    assert "nothing new" in (stuck.reason([*files, *again]) or "")
    assert stuck.reason([*files, *again[:-1]]) is None
    assert stuck.reason([*files, *again[:-1], turn("write", "done")]) is None


def test_silence_is_for_another_rule() -> None:
    assert stuck.reason([Turn((), ())] * 3) is None
    assert stuck.reason([]) is None
