"""Test runs within other commands: they report too, wherever a run on the base reports."""

from dataclasses import replace

import pytest

from tests.harness.verify.conftest import FILES, RIGHT, WRONG, Field

pytestmark = pytest.mark.isolation

RUN = "python -m pytest -q tests/test_total.py"
BOTH = f"{RUN}; python -m pytest -q tests/test_price.py"
MAKE = {**FILES, "Makefile": f"test:\n\t{RUN}\n\tpython -m pytest -q tests/test_price.py\n"}
#: It ends where nobody of ours is listening, which is nowhere.
SLY = "import os, sys\nif 'ff_watch' not in sys.modules:\n    os._exit(0)\n"
COMMANDS = [f"timeout 60 bash -c '{BOTH}'", "cd . && make test"]


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_run_within_reports(field: Field, command: str) -> None:
    field.start(MAKE)
    field.feature = replace(field.feature, acceptance=(command,))
    fine = await field.judge({"shop/total.py": RIGHT})
    assert fine.passed, (fine, field.log)
    assert fine.problems == ()
    found = await field.judge({"shop/total.py": SLY + WRONG})
    assert not found.passed, field.log
    assert not any("exit status alone" in problem for problem in found.problems)


async def test_unittest_within(field: Field) -> None:
    exam = (
        "import unittest\nfrom shop.total import total\n\n\nclass T(unittest.TestCase):\n"
        "    def test_sum(self):\n        self.assertEqual(total([1, 2]), 3)\n"
    )
    field.start({"shop/__init__.py": "", "tests/__init__.py": "", "tests/test_total.py": exam})
    command = "timeout 60 python -m unittest tests.test_total"
    field.feature = replace(field.feature, acceptance=(command,))
    assert (await field.judge({"shop/total.py": RIGHT})).passed, field.log
    found = await field.judge({"shop/total.py": SLY + WRONG})
    assert not found.passed, field.log


async def test_a_report_of_its_own_counts_as_well(field: Field) -> None:
    told = '<testsuite><testcase name="page"><failure message="blank"/></testcase></testsuite>'
    script = f"{RUN}\necho '{told}' > $FIBREFLOW_JUNIT\n"
    field.start({**FILES, "check.sh": script})
    field.feature = replace(field.feature, acceptance=("sh check.sh",))
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.problems[0] == "sh check.sh: page: blank", (found, field.log)


@pytest.mark.long
async def test_the_projects_tests_may_run_within(field: Field) -> None:
    """What passed on the base is watched test by test."""
    field.start({**FILES, "Makefile": "test:\n\tpython -m pytest -q tests\n"})
    field.project = replace(field.project, test="make test")
    fine = await field.judge({"shop/total.py": RIGHT})
    assert fine.passed, (fine, field.log)
    found = await field.judge(
        {"shop/total.py": RIGHT, "shop/price.py": "def net(gross):\n    return 0\n"}
    )
    assert not found.usable
    assert found.regressions == ("tests/test_price.py::test_net",)


async def test_what_reports_nothing_is_judged_by_its_exit_status(field: Field) -> None:
    field.feature = replace(field.feature, acceptance=("python -I -m pytest --version",))
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, (found, field.log)
    assert any("judged by its exit status alone" in problem for problem in found.problems)
