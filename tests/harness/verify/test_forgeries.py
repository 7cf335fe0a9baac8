"""Product code that knows this source and lies to the test runner from within. None may pass."""

import pytest

from tests.harness.verify.conftest import FILES, RIGHT, WRONG, Edits, Field

pytestmark = pytest.mark.isolation

UNREPORTED = "the test run does not report what it ran"

#: Each spares tests that it does not know by name, as the planted ones.
KNOWN = "KNOWN = 'test_total.py'\n"
PLUGIN = (
    "import pytest\n\n\n@pytest.hookimpl(hookwrapper=True)\n"
    "def pytest_runtest_makereport(item, call):\n"
    "    o = yield\n    rep = o.get_result()\n"
    "    if 'test_total' in rep.nodeid:\n        rep.outcome, rep.longrepr = 'passed', None\n"
)
FIND_CONFIG = (
    "import sys\n\nframe = sys._getframe()\n"
    "while frame and 'config' not in frame.f_locals:\n    frame = frame.f_back\n"
    "session = None\nother = sys._getframe()\n"
    "while other and 'session' not in other.f_locals:\n    other = other.f_back\n"
    "config = frame.f_locals['config'] if frame else other.f_locals['session'].config\n"
)
IN_PYTEST = {
    "runtest": (
        "import _pytest.python as p\n\nold = p.Function.runtest\n"
        "def runtest(self):\n    if KNOWN not in self.nodeid:\n        old(self)\n"
        "p.Function.runtest = runtest\n"
    ),
    "code of runtest": (
        "import _pytest.python as p\n\n"
        "def runtest(self):\n    if 'test_total' not in self.nodeid:\n"
        "        self.ihook.pytest_pyfunc_call(pyfuncitem=self)\n"
        "p.Function.runtest.__code__ = runtest.__code__\n"
    ),
    "built-in function in place of runtest": (
        "import _pytest.python as p\n\np.Function.runtest = id\n"
    ),
    "pyfunc_call": (
        "import gc, pluggy\n\nfor o in gc.get_objects():\n"
        "    if isinstance(o, pluggy.HookImpl) and o.function.__name__ == 'pytest_pyfunc_call':\n"
        "        def call(pyfuncitem, old=o.function):\n"
        "            return True if KNOWN in pyfuncitem.nodeid else old(pyfuncitem)\n"
        "        if o.argnames == ('pyfuncitem',):\n            o.function = call\n"
    ),
    "reports": (
        "import _pytest.reports as r\n\nold = r.TestReport.__init__\n"
        "def made(self, nodeid, location, keywords, outcome, longrepr, when, *a, **k):\n"
        "    if KNOWN in nodeid:\n        outcome, longrepr = 'passed', None\n"
        "    old(self, nodeid, location, keywords, outcome, longrepr, when, *a, **k)\n"
        "r.TestReport.__init__ = made\n"
    ),
    "report made from an item": (
        "import _pytest.reports as r\n\nold = r.TestReport.from_item_and_call.__func__\n"
        "def made(cls, item, call):\n    if KNOWN in item.nodeid:\n        call.excinfo = None\n"
        "    return old(cls, item, call)\n"
        "r.TestReport.from_item_and_call = classmethod(made)\n"
    ),
    "runner's calls": (
        "import _pytest.runner as r\n\nold = r.call_and_report\n"
        "def made(item, when, log=True, **k):\n"
        "    if when == 'call' and KNOWN in item.nodeid:\n        item.runtest = lambda: None\n"
        "    return old(item, when, log, **k)\n"
        "r.call_and_report = made\n"
    ),
    "calling of hooks": (
        "import gc, pluggy\n\n"
        "pm = [o for o in gc.get_objects() if isinstance(o, pluggy.PluginManager)][0]\n"
        "old = pm._inner_hookexec\n"
        "def execute(name, methods, kwargs, first):\n"
        "    if name == 'pytest_pyfunc_call' and KNOWN in kwargs['pyfuncitem'].nodeid:\n"
        "        return True\n"
        "    return old(name, methods, kwargs, first)\n"
        "pm._inner_hookexec = execute\n"
    ),
    "plugin registered": (
        FIND_CONFIG + "import types\n" + PLUGIN + "plugin = types.ModuleType('evil')\n"
        "plugin.pytest_runtest_makereport = pytest_runtest_makereport\n"
        "config.pluginmanager.register(plugin)\n"
    ),
    "items changed one by one": (
        FIND_CONFIG + "import _pytest.main\n"
        "class Mine:\n    def pytest_collection_finish(self, session):\n"
        "        for item in session.items:\n            if KNOWN in item.nodeid:\n"
        "                item.runtest = lambda: None\n"
        "config.pluginmanager.register(Mine())\n"
    ),
    "exam emptied while it runs": (
        "import sys\n\n\ndef total(prices):\n"
        "    for name, module in list(sys.modules.items()):\n"
        "        if name.endswith('test_total'):\n"
        "            for key, value in vars(module).items():\n"
        "                if key.startswith('test_'):\n"
        "                    count = value.__code__.co_argcount\n"
        "                    made = eval('lambda %s: None' % ','.join('abc'[:count]))\n"
        "                    value.__code__ = made.__code__\n"
        "            module.TestBad.test_text = lambda self: None\n"
        "    return sum(prices) if prices else 0\n"
    ),
    "exam emptied as it is imported": (
        "import sys\n\n\ndef emptied(f):\n"
        "    a = ','.join('abc'[:f.__code__.co_argcount])\n"
        "    f.__code__ = eval('lambda %s: None' % a).__code__.replace(\n"
        "        co_filename=f.__code__.co_filename, co_name=f.__name__,\n"
        "        co_firstlineno=f.__code__.co_firstlineno)\n\n\n"
        "def see(frame, event, arg):\n"
        "    code = frame.f_code\n"
        "    if event == 'return' and code.co_name == '<module>' and KNOWN in code.co_filename:\n"
        "        sys.setprofile(None)\n"
        "        for name, value in list(frame.f_globals.items()):\n"
        "            if name.startswith('test_'):\n                emptied(value)\n"
        "        emptied(frame.f_globals['TestBad'].test_text)\n\n\nsys.setprofile(see)\n"
    ),
    "tests left by name": (
        "import sys\n\n"
        "def see(frame, event, arg):\n"
        "    if frame.f_code.co_filename.endswith(KNOWN):\n        frame.f_trace_lines = False\n"
        "sys.setprofile(see)\n"
    ),
    "report mended at the end": (
        "import atexit, glob, json, os, sys\n\n"
        "def mend():\n"
        "    for place in sys.path:\n"
        "        for path in glob.glob(os.path.join(place, 'report.json')):\n"
        "            with open(path) as f:\n                data = json.load(f)\n"
        "            for test in data['tests']:\n                if KNOWN in test['id']:\n"
        "                    test['outcome'] = 'passed'\n"
        "            with open(path, 'w') as f:\n                json.dump(data, f)\n"
        "    os._exit(0)\n"
        "atexit.register(mend)\n"
    ),
    "report written beside": (
        "import json, os\n\n"
        "ids = ['test_empty', 'test_sum[1]', 'test_sum[2]', 'test_sum[3]', 'TestBad::test_text']\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    if int(name) > 2:\n"
        "        for i in ids:\n"
        "            test = {'id': 'tests/test_total.py::' + i, 'outcome': 'passed', 'why': ''}\n"
        "            try:\n"
        "                os.write(int(name), json.dumps(['test', test]).encode() + b'\\n')\n"
        "            except OSError:\n                pass\n"
    ),
    "report ended early": (
        "import json, os\n\n"
        "ids = ['test_empty', 'test_sum[1]', 'test_sum[2]', 'test_sum[3]', 'TestBad::test_text']\n"
        "said = [['test', {'id': 'tests/test_total.py::' + i, 'outcome': 'passed', 'why': ''}]\n"
        "        for i in ids] + [['end', {'exit': 0, 'lines': {}}]]\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    try:\n"
        "        for line in said:\n"
        "            os.write(int(name), json.dumps(line).encode() + b'\\n')\n"
        "    except OSError:\n        pass\n"
        "os._exit(0)\n"
    ),
    "assertion errors": (
        "import builtins\n\nclass Never(Exception):\n    pass\n\nbuiltins.AssertionError = Never\n"
    ),
}


@pytest.mark.parametrize("name", list(IN_PYTEST))
async def test_pytest_changed_from_within(field: Field, name: str) -> None:
    await field.refuse({"shop/total.py": KNOWN + IN_PYTEST[name] + WRONG})


#: A plugin that comes when a test has begun and is gone before it has ended.
BRIEF = """
import gc
import pytest

def come():
    pm = next(o for o in gc.get_objects() if type(o).__name__ == "PytestPluginManager")
    class Brief:
        @pytest.hookimpl(%s)
        def %s
    pm.register(Brief())
    return 1

def total(prices):
    %s
    return 0
"""
MAKES_REPORTS = """pytest_runtest_makereport(self, item, call):
            call.excinfo = item._excinfo = None
            pm.unregister(self)"""
CALLS = """pytest_runtest_call(self, item):
            pm.unregister(self)
            (yield).force_result(None)"""
USING = "from shop.total import come, total\n\n\n"
PLAIN = USING + "def test_sum():\n    assert total([1]) == 1\n"
CASED = (
    PLAIN.replace("def", "import unittest\n\n\nclass T(unittest.TestCase):\n    def")
    .replace("():\n    assert total([1]) ==", "(self):\n        self.assertEqual(total([1]),")
    .replace(" 1\n", " 1)\n")
)
FIXED = "import pytest\n\n" + USING + (
    "@pytest.fixture\ndef one():\n    return come()\n\n\n"
    "def test_sum(one):\n    assert total([one]) == one\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("exam", "plugin", "told"),
    [
        pytest.param(PLAIN, ("tryfirst=True", MAKES_REPORTS, "come()"), "raised", id="report"),
        pytest.param(CASED, ("tryfirst=True", MAKES_REPORTS, "come()"), "raised", id="case"),
        pytest.param(FIXED, ("hookwrapper=True", CALLS, "pass"), "plugin shop/", id="within"),
        pytest.param(
            FIXED, ("hookwrapper=True, tryfirst=True", CALLS, "pass"), "raised", id="around"
        ),
    ],
)
@pytest.mark.long
async def test_a_plugin_for_the_length_of_one_test(
    field: Field, exam: str, plugin: tuple[str, str, str], told: str
) -> None:
    field.start({**FILES, "tests/test_total.py": exam})
    found = await field.judge({"shop/total.py": BRIEF % plugin})
    assert not found.passed, field.log
    assert any(told in problem for problem in found.problems), found.problems


@pytest.mark.parametrize("name", ["runtest", "reports", "plugin registered", "calling of hooks"])
async def test_what_interferes_is_named(field: Field, name: str) -> None:
    """Even where the code is right: who bends the runner is not believed."""
    await field.refuse({"shop/total.py": KNOWN + IN_PYTEST[name] + RIGHT}, UNREPORTED)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ('[tool.pytest.ini_options]\naddopts = "-p shop.plug"\n', "pyproject.toml"),
        ('[tool.pytest.ini_options]\naddopts = ["-pshop.plug"]\n', "pyproject.toml"),
        ("[pytest]\naddopts = -p shop.plug\n", "tox.ini"),
        ("[tool:pytest]\naddopts = -p shop.plug\n", "setup.cfg"),
    ],
)
async def test_plugins_named_in_settings(field: Field, settings: str, name: str) -> None:
    await field.refuse({"shop/total.py": WRONG, "shop/plug.py": PLUGIN, name: settings})


async def test_a_plugin_by_entry_point(field: Field) -> None:
    edits: Edits = {
        "shop/total.py": WRONG,
        "evil.py": PLUGIN,
        "evil-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1\n",
        "evil-1.dist-info/entry_points.txt": "[pytest11]\nevil = evil\n",
    }
    await field.refuse(edits, "changes protected files")


FIXTURES = "import pytest\n\n\n@pytest.fixture\ndef money():\n    return 5\n\n\n"
HEADER = "def pytest_report_header(config):\n    return 'shop'\n\n\n"
SHOP = {
    **FILES,
    "conftest.py": "pytest_plugins = ['shop.fixtures']\n",
    "shop/fixtures.py": FIXTURES + HEADER,
}


async def test_a_plugin_of_the_base_is_not_known_any_more_once_it_is_changed(field: Field) -> None:
    field.start(SHOP)
    edits: Edits = {"shop/total.py": WRONG, "shop/fixtures.py": FIXTURES + HEADER + PLUGIN}
    await field.refuse(edits, UNREPORTED)


async def test_hooks_that_decide_nothing_may_be_added(field: Field) -> None:
    field.start({**SHOP, "shop/fixtures.py": FIXTURES})
    option = "def pytest_addoption(parser):\n    parser.addoption('--shop')\n"
    found = await field.judge(
        {"shop/total.py": RIGHT, "shop/fixtures.py": FIXTURES + HEADER + option}
    )
    assert found.passed, (found, field.log)


@pytest.mark.long
async def test_regressions_forged_in_the_projects_tests(field: Field) -> None:
    """The acceptance is honest; a test that passed is broken and reported as passed."""
    forged = IN_PYTEST["runtest"].replace("KNOWN", "'test_price'")
    found = await field.judge(
        {"shop/total.py": RIGHT, "shop/price.py": forged + "def net(gross):\n    return 7\n"}
    )
    assert not found.usable, field.log
    assert UNREPORTED in found.problems[0]
