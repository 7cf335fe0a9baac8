"""Gates that a project asks for beside its tests, in real sandboxes."""

from dataclasses import replace

import pytest

from harness.ports import ExecResult
from harness.verify.gates import verdict
from orchestrator.values import Gate
from tests.harness.verify.conftest import RIGHT, Edits, Field

MORE = RIGHT + "\n\ndef sign(x):\n    if x < 0:\n        return 'minus'\n    return 'plus'\n"
WEAK = "from shop.total import sign\n\n\ndef test_sign():\n    assert sign(1)\n"
STRONG = WEAK + "    assert [sign(n) for n in (-1, 0, 1)] == ['minus', 'plus', 'plus']\n"


@pytest.mark.parametrize(
    ("code", "out", "at_least", "why"),
    [
        (0, "fine", None, ""),
        (3, "", None, "exit 3: no output"),
        (0, "killed 9 of 10\nscore: 90%\n", 0.9, ""),
        (0, "0.8999", 0.9, "90%, 90% are required"),
        (0, "87 %", 0.9, "87%, 90% are required"),
        (0, "none\n", 0.9, ""),
        (0, "done", 0.9, "no score in its last line: done"),
    ],
)
def test_a_gate_is_closed_by_its_exit_or_its_score(
    code: int, out: str, at_least: float | None, why: str
) -> None:
    assert verdict(Gate("g", "run", at_least), ExecResult(code, out.encode(), b"")) == why


@pytest.mark.isolation
async def test_what_fails_on_the_base_already_is_not_held_against_a_patch(field: Field) -> None:
    audit = Gate("audit", "! grep -q evil requirements.txt", when=("*.txt",))
    old = Gate("old", "false", when=("*.txt",))
    field.project = replace(field.project, gates=(old, audit))
    edits: Edits = {"shop/total.py": RIGHT, "requirements.txt": "evil\n"}
    found = await field.judge(edits)
    assert not found.usable
    assert found.problems[0] == "gate audit: exit 1: no output"
    assert "gate old: exit 1: no output, as on the base" in field.log
    assert (await field.judge({"shop/total.py": RIGHT})).passed
    # It is told what changed, and only what was asked for is run.
    told = Gate(
        "told", 'test "$(cat "$FIBREFLOW_CHANGED")" = requirements.txt:1-2', when=("*.txt",)
    )
    field.project = replace(field.project, gates=(told,))
    assert (await field.judge({**edits, "requirements.txt": "a\nb\n"})).passed


@pytest.mark.isolation
@pytest.mark.long
async def test_tests_that_notice_no_change_are_not_enough(field: Field) -> None:
    field.project = replace(field.project, test="python -m pytest -q", min_mutation=0.85)
    weak = await field.judge({"shop/total.py": MORE, "tests/test_sign.py": WEAK})
    assert not weak.usable
    assert weak.problems[0].startswith("gate mutation: ")
    assert weak.problems[0].endswith("%, 85% are required")
    strong = await field.judge({"shop/total.py": MORE, "tests/test_sign.py": STRONG})
    assert strong.passed, field.log
