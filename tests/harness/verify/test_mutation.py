"""The program that scores tests by mutants, as it runs inside: here, on a folder of its own."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.verify import mutation

PROGRAM = Path(mutation.__file__).with_name("inside_mutation.py")
CODE = "def older(a, b):\n    return a > b\n\n\nKEPT = 3 > 2\n"
WEAK = "import code_at_hand"
STRONG = f"{WEAK} as c; assert [c.older(2, n) for n in (1, 2, 3)] == [True, False, False]"


def scored(folder: Path, test: str, *flags: str) -> str:
    (folder / "code_at_hand.py").write_text(CODE, "utf-8")
    (folder / "changed").write_text("code_at_hand.py:1-2\ntests/test_x.py:1-9\n", "utf-8")
    command = base64.b64encode(f"{sys.executable} -c '{test}'".encode()).decode()
    done = subprocess.run(
        [sys.executable, "-I", *flags, PROGRAM, command],
        cwd=folder,
        env={**os.environ, "FIBREFLOW_CHANGED": "changed"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (folder / "code_at_hand.py").read_text("utf-8") == CODE
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize(("flags", "whose"), [((), " of cosmic-ray"), (("-S",), "")])
def test_a_test_that_notices_and_one_that_does_not(
    tmp_path: Path, flags: tuple[str, ...], whose: str
) -> None:
    """`-S`: as where the project's environment has no cosmic-ray."""
    weak, strong = (scored(tmp_path, test, *flags) for test in (WEAK, STRONG))
    assert f" mutants{whose} noticed: " in weak
    assert weak.endswith(" 0.000\n")
    assert strong.endswith(" 1.000\n")


def test_where_nothing_can_be_turned_round_there_is_no_score(tmp_path: Path) -> None:
    (tmp_path / "code_at_hand.py").write_text("x: int\n", "utf-8")
    (tmp_path / "changed").write_text("code_at_hand.py:1-1\nbroken.py:1-2\n", "utf-8")
    (tmp_path / "broken.py").write_text("def (:\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM, base64.b64encode(b"true")],
        cwd=tmp_path,
        env={**os.environ, "FIBREFLOW_CHANGED": "changed"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "none\n"
