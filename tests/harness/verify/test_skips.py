"""Who may skip a required test: the exam for its own reasons, not the code that a patch brings."""

from dataclasses import replace

import pytest

from tests.harness.verify.conftest import FILES, RIGHT, Field

pytestmark = pytest.mark.isolation

EXAM = "tests/test_total.py"
REST = {name: text for name, text in FILES.items() if name != EXAM}
HONEST = """import os, unittest
import pytest
from shop.total import total

needs_net = pytest.mark.skipif(True, reason="no net")

@pytest.fixture
def database():
    pytest.skip("no database")

def test_sum():
    assert total([1, 2]) == 3

def test_display():
    if "DISPLAY" not in os.environ:
        pytest.skip("needs a display")

def test_module():
    pytest.importorskip("surely_no_such_module")

def test_database(database):
    assert database

@needs_net
def test_net():
    assert total([1]) == 2

@pytest.mark.parametrize("n", [])
def test_none(n):
    assert total([n]) == n

class Loud(unittest.TestCase):
    def test_self(self):
        self.skipTest("not here")

    @unittest.skipIf(True, "not now")
    def test_marked(self):
        self.fail()
"""
MODULES = {
    "tests/test_net.py": "import pytest\npytestmark = pytest.mark.skipif(True, reason='no net')\n"
    "from shop.total import total\n\ndef test_net():\n    assert total([1]) == 2\n",
    "tests/test_other.py": "import pytest\npytest.importorskip('surely_no_such_module')\n"
    "from shop.total import total\n\ndef test_other():\n    assert total([1]) == 2\n",
}


@pytest.mark.parametrize("known", [False, True], ids=["not importable", "importable"])
async def test_an_exam_skips_what_cannot_run_here(field: Field, known: bool) -> None:
    """Whether or not the base can import it."""
    files = {"shop/total.py": "def total(prices):\n    return 0\n"} if known else {}
    field.start({**REST, **MODULES, EXAM: HONEST, **files})
    named = " ".join([EXAM, *MODULES])
    field.feature = replace(field.feature, acceptance=(f"python -m pytest -q {named}",))
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, (found, field.log)


SKIPS = "import unittest\n\n\ndef total(prices):\n    if prices:\n        raise unittest.SkipTest\n"
CLAIMED = f"exec(compile({SKIPS!r}, {EXAM!r}, 'exec'))\n"
IMPORTED = "from shop.total import total\n\n\n"
EMPTY = "def test_empty():\n    assert not total([])\n\n\n"
TESTS = EMPTY + "def test_sum():\n    assert total([1, 2]) == 3\n"
CASE = (
    "class Totals({base}):\n    def test_empty(self):\n        self.assertFalse(total([]))\n\n"
    "{marks}    def test_sum(self):\n        self.assertEqual(total([1, 2]), 3)\n"
)
FORGED = {
    "filtered": ("-k 'sum or empty'", IMPORTED + TESTS, SKIPS),
    "importorskip": (
        "",
        "import pytest\ntotal = pytest.importorskip('shop.total').total\n\n\n" + TESTS,
        SKIPS,
    ),
    "mark whose condition is false": (
        "",
        "import pytest\n" + IMPORTED
        + TESTS.replace("def test_sum", "@pytest.mark.skipif(False, reason='x')\ndef test_sum"),
        SKIPS,
    ),
    "another class between": (
        "",
        "from tests.base import Base\n" + IMPORTED + CASE.format(base="Base", marks=""),
        SKIPS,
    ),
    "code that claims to be the exam's": ("", IMPORTED + TESTS, CLAIMED),
    "in place of the product": (
        "",
        "import shop.total\n\n\ndef test_empty():\n    assert True\n\n\n"
        "def test_sum():\n    assert shop.total.total([1, 2]) == 3\n",
        "from pytest import skip as total\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FORGED))
async def test_the_product_skips_nothing(field: Field, name: str) -> None:
    options, exam, product = FORGED[name]
    base = {"tests/__init__.py": "", "tests/base.py": "import unittest\n\n\n"
            "class Base(unittest.TestCase):\n    pass\n"}  # fmt: skip
    field.start({**REST, **base, EXAM: exam})
    command = f"python -m pytest -q {options} {EXAM}"
    field.feature = replace(field.feature, acceptance=(command,))
    found = await field.judge({"shop/total.py": product})
    assert not found.passed, field.log


async def test_the_product_skips_nothing_of_unittest(field: Field) -> None:
    marks = "    @unittest.skipIf(False, 'x')\n"
    exam = "import unittest\n" + IMPORTED + CASE.format(base="unittest.TestCase", marks=marks)
    field.start({**REST, "tests/__init__.py": "", EXAM: exam})
    field.feature = replace(field.feature, acceptance=("python -m unittest tests.test_total",))
    found = await field.judge({"shop/total.py": SKIPS})
    assert not found.passed, field.log
    assert "was skipped by shop/total.py, which the patch changed" in found.problems[0]


async def test_a_module_that_the_patch_does_not_bring_is_no_reason_to_skip(field: Field) -> None:
    """Nothing is done, and the other named module passes: the exam was not met."""
    options, exam, _ = FORGED["importorskip"]
    field.start({**REST, EXAM: exam})
    command = f"python -m pytest -q {EXAM} tests/test_price.py"
    field.feature = replace(field.feature, acceptance=(command,))
    found = await field.judge({"shop/other.py": "x = 1\n"})
    assert not found.passed, (options, field.log)
