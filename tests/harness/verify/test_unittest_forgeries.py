"""As `test_forgeries`, where the exam or the project's tests are unittest's. None may pass."""

from dataclasses import replace

import pytest

from tests.harness.verify.conftest import FILES, RIGHT, WRONG, Field

pytestmark = pytest.mark.isolation

UNREPORTED = "the test run does not report what it ran"

EXAM = (
    "import unittest\n\nfrom shop.total import total\n\n\n"
    "class TotalTest(unittest.TestCase):\n"
    "    @classmethod\n    def setUpClass(cls):\n        cls.prices = [5, 5]\n\n"
    "    def setUp(self):\n        self.many = 2\n\n"
    "    def test_sum(self):\n        self.assertEqual(total(self.prices), 5 * self.many)\n\n"
    "    def test_empty(self):\n        self.assertEqual(total([]), 0)\n\n"
    "    def test_each(self):\n        for n in range(3):\n            with self.subTest(n=n):\n"
    "                self.assertEqual(total([1] * n), n)\n\n"
    "    @unittest.skip('later')\n    def test_later(self):\n        self.fail()\n\n"
    "    @unittest.expectedFailure\n    def test_known(self):\n        self.fail()\n"
)
OTHER = (
    "import unittest\n\nfrom shop.price import net\n\n\nclass PriceTest(unittest.TestCase):\n"
    "    def test_net(self):\n        self.assertEqual(net(119), 100)\n"
)
CASES = {
    "shop/__init__.py": "",
    "shop/price.py": FILES["shop/price.py"],
    "tests/__init__.py": "",
    "tests/test_total.py": EXAM,
    "tests/test_price.py": OTHER,
}
SUMMARY = "Ran 5 tests in 0.001s\\n\\nOK\\n"
IN_UNITTEST = {
    "summary and exit": f"import os\n\nos.write(2, b'{SUMMARY}')\nos._exit(0)\n",
    "summary at exit": (
        f"import atexit, os\n\natexit.register(lambda: (os.write(2, b'{SUMMARY}'), os._exit(0)))\n"
    ),
    "case that is not run": (
        "import unittest\n\nold = unittest.TestCase.run\n"
        "def run(self, result=None):\n"
        "    if 'TotalTest' in self.id():\n        result.startTest(self)\n"
        "        result.addSuccess(self)\n        return result\n"
        "    return old(self, result)\n"
        "unittest.TestCase.run = run\n"
    ),
    "methods that are not called": (
        "import unittest\n\nold = unittest.TestCase._callTestMethod\n"
        "def call(self, method):\n    if 'TotalTest' not in self.id():\n        old(self, method)\n"
        "unittest.TestCase._callTestMethod = call\n"
    ),
    "assertions": (
        "import unittest\n\nunittest.TestCase.assertEqual = lambda *a, **k: None\n"
        "unittest.TestCase._getAssertEqualityFunc = lambda *a, **k: print\n"
    ),
    "exam emptied as it is imported": (
        "import sys\n\n\n"
        "def see(frame, event, arg):\n"
        "    code = frame.f_code\n"
        "    if event == 'return' and code.co_name == '<module>':\n"
        "        for name, value in vars(frame.f_globals.get('TotalTest', object)).items():\n"
        "            if name.startswith('test_') and name not in ('test_later', 'test_known'):\n"
        "                sys.setprofile(None)\n"
        "                value.__code__ = (lambda self: None).__code__\n\n\n"
        "sys.setprofile(see)\n"
    ),
    "results": (
        "import unittest\n\n"
        "unittest.TestResult.wasSuccessful = lambda self: True\n"
        "def forgiven(self, test, err):\n    self.addSuccess(test)\n"
        "import gc\n"
        "for o in gc.get_objects():\n"
        "    if isinstance(o, type) and issubclass(o, unittest.TestResult):\n"
        "        o.addFailure = o.addError = forgiven\n"
        "        o.addSubTest = lambda *a: None\n"
    ),
    "loader that loads nothing": (
        "import unittest\n\n"
        "unittest.TestLoader.loadTestsFromModule = lambda *a, **k: unittest.TestSuite()\n"
    ),
    "skipped": "import unittest\n\nraise unittest.SkipTest('not here')\n",
    "exit": "raise SystemExit(0)\n",
}


def by_unittest(field: Field, command: str = "python -m unittest tests.test_total") -> None:
    field.start(CASES)
    field.feature = replace(field.feature, acceptance=(command,))
    field.project = replace(field.project, test="python -m unittest discover -s tests -t .")


@pytest.mark.parametrize("name", list(IN_UNITTEST))
async def test_unittest_changed_from_within(field: Field, name: str) -> None:
    by_unittest(field)
    await field.refuse({"shop/total.py": IN_UNITTEST[name] + WRONG})


#: What a product may do to the test that calls it, through the frames above its own.
ON_THE_CASE = {
    "judges of the case": ("case.assertEqual = lambda *a: None", "replaced assertEqual"),
    "what is expected": ("case._outcome.expecting_failure = True", "raised AssertionError"),
    "the result, once": (
        "r = case._outcome.result\n"
        "    r.addFailure = lambda *a: (vars(r).pop('addFailure'), r.addSuccess(case))",
        "raised AssertionError",
    ),
    "the call, before it": ("case._callTestMethod = lambda method: None", "was not run"),
}


@pytest.mark.parametrize("name", list(ON_THE_CASE))
@pytest.mark.long
async def test_a_case_changed_while_it_runs(field: Field, name: str) -> None:
    does, told = ON_THE_CASE[name]
    start = "    def setUp(self):\n        total([])\n\n" if "before" in name else ""
    exam = EXAM.partition("    @classmethod")[0] + start
    exam += "    def test_sum(self):\n        got = total([1])\n        self.assertEqual(got, 1)\n"
    field.start({**CASES, "tests/test_total.py": exam})
    field.feature = replace(field.feature, acceptance=("python -m unittest tests.test_total",))
    lie = "    case = sys._getframe(1).f_locals['self']\n"
    product = f"import sys\n\n\ndef total(prices):\n{lie}    {does}\n    return 0\n"
    await field.refuse({"shop/total.py": product}, told)


@pytest.mark.parametrize("name", ["case that is not run", "methods that are not called", "results"])
async def test_what_interferes_with_unittest_is_named(field: Field, name: str) -> None:
    by_unittest(field)
    await field.refuse({"shop/total.py": IN_UNITTEST[name] + RIGHT}, UNREPORTED)


@pytest.mark.parametrize(
    "command",
    [
        "python -m unittest tests.test_total",
        "python -m unittest -v tests/test_total.py",
        "python3 -m unittest discover -s tests -t .",
        "python -m unittest",
        "PYTHONPATH=. python -m unittest -f -b tests.test_total.TotalTest.test_sum",
        "cd tests && PYTHONPATH=.. python -m unittest test_total",
        "python -m unittest -k sum tests.test_total",
        "python -m unittest tests.test_total && python -m pytest -q tests/test_total.py",
    ],
)
async def test_unittest_meant_well(field: Field, command: str) -> None:
    by_unittest(field, command)
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, (found, field.log)
    assert found.coverage == 1.0
    assert found.problems == ()
    wrong = await field.judge({"shop/total.py": WRONG})
    assert not wrong.passed
    assert "TotalTest.test_" in wrong.problems[0]


async def test_tests_of_daemons_close_all_descriptors(field: Field) -> None:
    field.feature = replace(field.feature, acceptance=("python -m unittest tests.test_total",))
    head, closing = "def test_empty(self):\n", "        __import__('os').closerange(3, 256)\n"
    field.start({**CASES, "tests/test_total.py": EXAM.replace(head, head + closing)})
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, (found, field.log)


async def test_a_red_unittest_suite_is_watched_test_by_test(field: Field) -> None:
    """The exam of the feature makes the suite red before; what passed must pass still."""
    by_unittest(field)
    found = await field.judge(
        {"shop/total.py": RIGHT, "shop/price.py": "def net(gross):\n    return 0\n"}
    )
    assert not found.usable
    assert found.regressions == ("tests.test_price.PriceTest.test_net",)


async def test_what_only_its_exit_status_tells_is_said(field: Field) -> None:
    field.feature = replace(field.feature, acceptance=("python -c 'import shop.total'",))
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed
    assert any("judged by its exit status alone" in p for p in found.problems)
