"""Honest work, from patch to evidence, in real sandboxes."""

from dataclasses import replace

import pytest

from harness.verify import record
from orchestrator.values import Project
from tests.harness.verify.conftest import FILES, RIGHT, Edits, Field, git

pytestmark = pytest.mark.isolation


async def test_a_right_patch_passes_with_measures(field: Field) -> None:
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, (found, field.log)
    assert found.problems == ()
    assert found.coverage == 1.0
    assert found.quality is None  # nobody was there to measure it
    assert found.seconds is not None
    assert found.seconds > 0


async def test_wrong_behaviour_fails_and_names_the_test(field: Field) -> None:
    found = await field.judge({"shop/total.py": "def total(prices):\n    return 0\n"})
    assert found.usable
    assert not found.passed
    assert "tests/test_total.py::" in found.acceptance[0].detail
    assert "(and 3 more)" in found.acceptance[0].detail
    assert found.problems[0].startswith(found.acceptance[0].name)
    assert found.coverage is None


async def test_coverage_is_of_the_added_lines(field: Field) -> None:
    more = RIGHT + "\n\ndef unused(x):\n    if x:\n        return 1\n    return 2\n"
    found = await field.judge({"shop/total.py": more})
    assert found.passed
    # Nine executable lines were added; the body of `unused`, three of them, never ran.
    assert found.coverage == pytest.approx(6 / 9)


async def test_coverage_comes_from_the_acceptance_where_nothing_else_runs(field: Field) -> None:
    field.start({"README": "x\n"})
    field.feature = replace(field.feature, acceptance=("python -m pytest -q checks/exam.py",))
    exam = "from thing import f\n\n\ndef test_f():\n    assert f() == 1\n"
    (field.repo / "checks").mkdir()
    (field.repo / "checks" / "exam.py").write_text(exam)
    git(field.repo, "add", "-A")
    git(field.repo, "commit", "-qm", "exam")
    found = await field.judge({"thing.py": "def f():\n    return 1\n"})
    assert found.passed, field.log
    assert found.coverage == 1.0


@pytest.mark.parametrize(("least", "usable"), [(0.7, False), (0.6, True)])
async def test_coverage_can_be_required(field: Field, least: float, usable: bool) -> None:
    field.project = Project(min_coverage=least)
    more = RIGHT + "\n\ndef unused(x):\n    if x:\n        return 1\n    return 2\n"
    found = await field.judge({"shop/total.py": more})
    assert found.coverage == pytest.approx(6 / 9)
    assert found.usable is usable
    assert usable or found.problems[0].endswith("67% of the lines it adds, 70% are required")


STARTED = """\
import os
import subprocess
import sys

PROGRAM = [sys.executable, "-m", "shop.price", "119"]


def test_it_prints():
    assert subprocess.check_output(PROGRAM) == b"100\\n"


def test_it_serves_until_it_is_told_to_stop():
    pipe = subprocess.PIPE
    with subprocess.Popen([*PROGRAM, "wait"], stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline() == b"ready\\n"
        process.terminate()


def test_the_machine_has_its_say():
    path = os.environ["PYTHONPATH"] + os.pathsep + os.path.abspath("machine")
    program = [sys.executable, "-c", "import sys; print(sys.greeted)"]
    assert subprocess.check_output(program, env={**os.environ, "PYTHONPATH": path}) == b"yes\\n"
"""


@pytest.mark.long
async def test_lines_that_run_in_programs_count_towards_what_is_required(field: Field) -> None:
    """A machine's own `sitecustomize` is heard still, though ours stands before it."""
    field.start({**FILES, "machine/sitecustomize.py": "import sys\n\nsys.greeted = 'yes'\n"})
    field.project = Project(min_coverage=1.0)
    program = (
        "import sys\n\n\ndef net(gross):\n    return gross * 100 // 119\n\n\n"
        "def main(words):\n    if words[1:]:\n"
        "        print('ready', flush=True) or sys.stdin.read()\n"
        "    print(net(int(words[0])))\n\n\n"
        "if __name__ == '__main__':\n    main(sys.argv[1:])\n"
    )
    patch: Edits = {"shop/total.py": RIGHT, "shop/price.py": program}
    assert (await field.judge({**patch})).coverage == pytest.approx(8 / 12)
    found = await field.judge({**patch, "tests/test_program.py": STARTED})
    assert found.coverage == 1.0
    assert found.usable


async def test_a_patch_that_breaks_what_passed_is_not_usable(field: Field) -> None:
    found = await field.judge(
        {"shop/total.py": RIGHT, "shop/price.py": "def net(gross):\n    return gross\n"}
    )
    assert not found.usable
    assert found.regressions == ("tests/test_price.py::test_net",)
    assert found.coverage is None


async def test_where_all_was_green_nothing_red_is_added(field: Field) -> None:
    field.start({name: text for name, text in FILES.items() if "total" not in name})
    field.feature = replace(field.feature, acceptance=("true",))
    own = {"tests/test_mine.py": "def test_mine():\n    assert 1 == 2\n"}
    found = await field.judge(dict(own))
    assert not found.usable
    assert found.problems[0] == "adds tests that fail: tests/test_mine.py::test_mine"
    fine = await field.judge({"tests/test_mine.py": "def test_mine():\n    assert 1 == 1\n"})
    assert fine.passed


@pytest.mark.long
async def test_every_kind_of_command(field: Field) -> None:
    bad = '<testsuite><testcase name="a"><failure message="m"/></testcase></testsuite>'
    field.start(
        {
            **FILES,
            "good.xml": '<testsuite><testcase name="a"/></testsuite>',
            "bad.xml": bad,
            "shop/exam.py": (
                "import unittest\n\n\nclass T(unittest.TestCase):\n"
                "    def test(self):\n        self.assertTrue(1)\n"
            ),
        }
    )
    commands = {
        "test -f shop/total.py && echo fine": "",
        "python -c 'import sys; sys.exit(\"sorry\")'": "exit 1: sorry",
        "cp good.xml $FIBREFLOW_JUNIT": "",
        "cp bad.xml $FIBREFLOW_JUNIT": "a: m",
        "python -m unittest -q shop.exam": "",
        "cd tests && PYTHONPATH=.. python -m pytest -q test_price.py": "",
        "PYTHONPATH=. pytest -q tests/test_total.py && PYTHONPATH=. pytest tests/test_price.py": "",
        "PYTHONPATH=. pytest -q | tail -1": "",
        "python -m pytest -q tests/nowhere.py": "file or directory not found",
        "no-such-program": "exit 127",
    }
    field.feature = replace(
        field.feature, acceptance=tuple(commands), scope=("shop/total.py", "shop/**")
    )
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.usable, found.problems
    for result, told in zip(found.acceptance, commands.values(), strict=True):
        assert result.passed is (not told), (result, field.log)
        assert told in result.detail


async def test_unittest_that_ends_early(field: Field) -> None:
    field.feature = replace(field.feature, acceptance=("python -m unittest shop.exam",))
    found = await field.judge({"shop/exam.py": "import os\nos._exit(0)\n"})
    assert not found.passed
    assert "does not report" in found.problems[0]


@pytest.mark.long
async def test_without_acceptance_a_red_project_that_turns_green_is_trusted(field: Field) -> None:
    field.feature = replace(field.feature, acceptance=())
    field.project = Project(test="python -m pytest -q tests")
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, field.log
    assert [c.name for c in found.acceptance] == ["project tests"]
    wrong = await field.judge({"shop/other.py": "x = 1\n"})
    assert [c.passed for c in wrong.acceptance] == [False]


async def test_without_any_trusted_check_nothing_is_claimed(field: Field) -> None:
    field.feature = replace(field.feature, acceptance=())
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.usable
    assert found.acceptance == ()
    assert not found.passed


async def test_evidence_and_log_are_kept(field: Field) -> None:
    found = await field.judge({"shop/total.py": RIGHT})
    assert record.load(field.folder / "log") == found
    assert "git apply" in field.log


@pytest.mark.long
async def test_ids_that_change_from_run_to_run(field: Field) -> None:
    unstable = (
        "import pytest\n\n\n@pytest.mark.parametrize('x', [1], ids=lambda v: str(id(object())))\n"
        "def test_any(x):\n    import os\n    assert x\n"
    ).replace("id(object())", "__import__('os').urandom(4).hex()")
    field.start({**FILES, "tests/test_any.py": unstable})
    field.feature = replace(
        field.feature, acceptance=("python -m pytest -q tests/test_total.py tests/test_any.py",)
    )
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, (found, field.log)
