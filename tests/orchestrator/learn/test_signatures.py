"""Signatures of endings, merges and reviews, hostile text, and what is masked in all of them."""

import pytest

from orchestrator.learn import frames
from orchestrator.learn.masking import mask, redact
from orchestrator.learn.signatures import Failed, Signature, of_merge, of_review, shown, sign

EXAM = "make exam"

#: ending, reason, problems -> kind of the first signature, None when there is none.
ENDINGS = (
    ("limit", "20 turns used", (), "turn-limit"),
    ("limit", "30.0 minutes used", (), "time-limit"),
    ("limit", "2000001 of 2000000 tokens used", (), "token-limit"),
    ("limit", "attempt: $0.52 of $0.50 would be reserved", (), "budget"),
    ("limit", "stopped calling tools", (), "gave-up"),
    ("error", "ModelRefusedError: it declined", (), "model-declined"),
    ("error", "RecordingMismatchError: no turn left", (), None),
    ("error", "the sandbox failed: its process died", (), None),
    ("submitted", "done", ("not verified: the sandbox is gone",), None),
    ("submitted", "done", ("not run: the project's tests, coverage, quality",), None),
    ("submitted", "done", ("changes protected files: conftest.py",), "protected-files"),
    ("submitted", "done", ("adds what looks like a GitHub token",), "secret-in-patch"),
    ("submitted", "done", ("adds a git submodule",), "unsafe-patch"),
    ("submitted", "done", ("the patch does not apply: corrupt",), "does-not-apply"),
    ("submitted", "done", ("breaks tests that passed: tests/a.py::b",), "regression"),
    ("submitted", "done", ("adds tests that fail: tests/a.py::b",), "own-tests-fail"),
    ("submitted", "done", (f"{EXAM}: timed out after 600 s",), "timeout"),
    ("submitted", "done", (f"{EXAM}: the test run does not report what it ran: exit 0",),
     "dishonest-run"),
    ("submitted", "done", (f"{EXAM}: no test ran and passed: no output",), "nothing-ran"),
    ("limit", "20 turns used", (f"{EXAM}: exit 1: no output",), "failed-command"),
)  # fmt: skip


@pytest.mark.parametrize(("ending", "reason", "problems", "kind"), ENDINGS)
def test_endings(ending: str, reason: str, problems: tuple[str, ...], kind: str | None) -> None:
    found = sign(Failed(ending, reason, problems, commands=(EXAM,)))
    assert (found[0].kind if found else None) == kind


def test_how_much_of_a_limit_there_was_does_not_matter() -> None:
    keys = {sign(Failed("limit", f"{n} turns used"))[0].key for n in (20, 60)}
    assert len(keys) == 1


def test_merges_and_reviews_have_signatures_too() -> None:
    conflict = of_merge("conflicts with the branch in a.py")
    red = of_merge(
        "green alone, red on the branch at 40202bf020: make exam: tests/t.py::test_a: "
        "t.py:9: AssertionError: assert 1 == 2"
    )
    review = of_review("The table must be sorted, says Ann on 2026-11-21")
    kinds = [s.kind for s in (conflict, red, review)]
    assert kinds == ["merge-conflict", "red-on-the-branch", "review-rejection"]
    assert len({conflict.key, red.key, review.key}) == 3


def test_one_attempt_has_few_signatures_and_each_once() -> None:
    problems = tuple(f"{EXAM}: exit {n}: boom {n}" for n in range(9))
    assert len(sign(Failed(problems=problems, commands=(EXAM,)))) == 1
    words = tuple(f"{EXAM}: exit 1: {w}" for w in ("alpha", "beta", "gamma", "delta", "eps"))
    assert len(sign(Failed(problems=words, commands=(EXAM,)))) == 4


def test_another_version_has_other_keys() -> None:
    assert Signature("none", version=2).key != Signature("none").key


def test_secrets_are_masked() -> None:
    key = "sk-ant-" + "a" * 24
    text = f"401 for {key}; password=hunter22 Authorization: Bearer {'x' * 30} https://u:pw@h/"
    for piece in (key, "hunter22", "x" * 30, "u:pw"):
        assert piece not in redact(text)
        assert piece not in mask(text)
        assert piece not in shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        "E   " + "a." * 30_000,
        " at (" * 12_000,
        "\n" * 60_000,
        "'" * 60_000,
        "  error: |-\n" * 5_000,
        "{" * 3000 + "}" * 3000,
    ],
)
def test_hostile_output_is_read_and_bounded(text: str) -> None:
    failed = Failed(problems=(f"{EXAM}: exit 1: {text[:400]}",), output=text, commands=(EXAM,))
    for signature in sign(failed):
        assert len(signature.message) <= 200
    frames.read(text)


def test_masking_keeps_names_and_drops_what_changes() -> None:
    one = mask("No module named 'shop.cart' at 0x7f1 after 3.5s in /tmp/pytest-of-x/p0/a.py")
    two = mask("No module named 'shop.cart' at 0x9d2 after 41s in /tmp/pytest-of-y/p7/b.py")
    assert one == two
    assert "shop.cart" in one
    assert mask("No module named 'a'") != mask("No module named 'b'")
    assert mask("assert [{'a': 1}] == {'b': [2]}", values=True) == "assert <values> == <values>"
