"""The driver that runs unittest inside the sandbox in the place of `python -m unittest`.

Nothing on the host imports it; its text is sent beside `inside_watch.py`. It says the same about a
run as `inside_pytest.py` does.
"""

# It must run where only an old Python is, so modern idiom is not asked of it.
# ruff: noqa: ARG005, N802, PTH109, PTH110, PTH118, UP031
# mypy: ignore-errors

import copy
import os
import sys
import unittest

from ff_exam import Written, read_tests, whence
from ff_watch import CONFIG, Failing, Purse, Watch, bare, blunt, chance, lines, say, source

JUDGE = unittest.TestCase
watch, written = Watch(), Written()
purse = Purse(CONFIG.get("twins", 0))


class Result(unittest.TextTestResult):
    """Says what became of each test as soon as it is known."""

    def startTest(self, test):
        watch.look(whole=False)
        attend(test)
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        vars(test).pop("_callTestMethod", None)

    def addSuccess(self, test):
        super().addSuccess(test)
        look_at(test)
        why = ends.pop(id(test), "")
        if why:
            told(test, "failed", "%s, and was reported as passed" % why)
        else:
            told(test, "passed")

    def addError(self, test, err):
        super().addError(test, err)
        told(test, "failed", self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        told(test, "failed", self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            told(test, "failed", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        error = sys.exc_info()[1]  # still being handled; there is none for decorators
        way = whence(error, written) if error is not None else None
        for name in behind(test):
            told(name, "skipped", str(reason), way)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        told(test, "xfailed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        told(test, "failed", "unexpected success")


#: How the methods of tests ended, as seen from outside of unittest's own book; "" is well.
ends = {}


def attend(test):
    """See for ourselves whether the test's method comes back without an error."""
    runs = getattr(getattr(type(test), "run", None), "__module__", "") or ""
    own = getattr(type(test), "_callTestMethod", None)
    if not runs.startswith("unittest.") or own is None:
        return  # of another framework, which calls its methods in its own way

    def call(method):
        try:
            made = own(test, method)
        except BaseException as error:
            ends[id(test)] = "raised %s" % type(error).__name__
            raise
        ends[id(test)] = ""
        return made

    ends[id(test)] = "was not run"
    test._callTestMethod = call


def look_at(test):
    """Whether somebody gave the test other judges than its class has."""
    for name, value in list(vars(test).items()):
        if name.startswith(("assert", "fail")) and callable(value) and name in vars(JUDGE):
            file = source(value)
            path = getattr(sys.modules.get(type(test).__module__), "__file__", None) or ""
            if file is not None and os.path.realpath(file) != os.path.realpath(path):
                watch.tell(["replaced %s of a test" % name, file])


def told(test, outcome, why="", way=None):
    name = test if isinstance(test, str) else test.id()
    say("test", {"id": name, "outcome": outcome, "why": why.strip()[-600:], "whence": way})


def behind(test):
    """The tests that a skipped module, class or fixture of one stands for, else itself."""
    name = test.id()
    if type(test).__name__ == "ModuleSkipped":
        return [one["id"] for one in unread(test._testMethodName)] or [name]
    if not name.startswith(("setUpClass (", "setUpModule (")):
        return [name]
    inner = name.partition("(")[2].rstrip(")")
    return [one for one in asked if one.startswith(inner + ".")] or [name]


class Runner(unittest.TextTestRunner):
    resultclass = Result


class Program(unittest.TestProgram):
    """unittest's own, with tests left out or planted between loading and running."""

    def runTests(self):
        collect(self.test)
        if CONFIG.get("collect"):
            self.result = unittest.TestResult()
            return
        self.testRunner = Runner
        self.test = arranged(self.test)
        if CONFIG.get("canary"):
            compare(flat(self.test))
            self.failfast = False  # the canary's failure must not end the run
            self.test = planted(self.test)
        super().runTests()


asked = []


def collect(suite):
    found = []
    for test in flat(suite):
        asked.append(test.id())
        if type(test).__name__ == "_FailedTest":
            found += unread(test._testMethodName)
        elif type(test).__name__ == "ModuleSkipped":  # here; on another tree it may not be
            found += [dict(one, may_skip=True) for one in unread(test._testMethodName)]
        else:
            found.append({"id": test.id(), "may_skip": may_skip(test)})
    say("collected", found)


def flat(suite):
    if isinstance(suite, unittest.BaseTestSuite):
        return [test for inner in suite for test in flat(inner)]
    return [suite]


def compare(tests):
    """Whether the exam is what stands in its files: code under test may have emptied it."""
    for test in tests:
        name = getattr(test, "_testMethodName", "")
        function = getattr(
            getattr(type(test), name, None), "__func__", getattr(type(test), name, None)
        )
        path = getattr(sys.modules.get(type(test).__module__), "__file__", None)
        if path is None or not hasattr(function, "__code__"):
            continue
        if written.differs(function, path, type(test).__name__, name):
            file = source(function)
            if file is not None:
                own = os.path.realpath(function.__code__.co_filename) == os.path.realpath(path)
                watch.tell(["replaced the code of %s" % test.id(), "" if own else file])


def unread(name):
    """The tests of a module that cannot be imported (yet), from its text."""
    for folder in [os.getcwd(), *sys.path]:
        path = os.path.join(folder, name.replace(".", os.sep) + ".py")
        if os.path.exists(path):
            return [
                {"id": "%s.%s.%s" % (name, outer, test), "may_skip": skip, "static": True}
                for outer, test, skip in read_tests(path)
                if outer
            ]
    return []


def may_skip(test):
    method = getattr(test, getattr(test, "_testMethodName", ""), None)
    return any(
        getattr(thing, name, False)
        for thing in (test, method)
        for name in ("__unittest_skip__", "__unittest_expecting_failure__")
    )


# ------------------------------------------------------------------- planting


def arranged(suite):
    """The suite without what is left out, and with failing twins beside real tests."""
    keep, drop = CONFIG.get("keep"), set(CONFIG.get("drop", ()))
    if not isinstance(suite, unittest.BaseTestSuite):
        if suite.id() in drop or (keep is not None and suite.id() not in keep):
            return None
        return suite
    inner = []
    for test in list(suite):
        kept = arranged(test)
        if kept is not None:
            inner += with_twin(kept)
    suite._tests = inner
    return suite


def with_twin(test):
    if isinstance(test, unittest.BaseTestSuite) or not hasattr(test, "_testMethodName"):
        return [test]
    turn = 1 if CONFIG.get("twins", 0) <= 0 or may_skip(test) else chance.random()
    if turn >= 0.75:
        return [test]
    twin = copy.copy(test)
    twin._cleanups = []
    twin.run = lambda result=None: fail(twin)
    return [twin, test] if turn < 0.45 else [test, twin]


def fail(twin):
    if purse.left <= 0:
        return
    del twin.run
    bare(twin)
    with purse, Failing(getattr(twin, twin._testMethodName)) as failing:
        outcome = run(twin)
    if outcome == "passed" and not failing.struck:
        setattr(twin, twin._testMethodName, blunt)
        outcome = run(twin)
    say("twin", [twin.id(), outcome])


def run(twin):
    result = unittest.TestResult()
    twin.run(result)
    outcome = "failed" if result.failures or result.errors else "passed"
    return "skipped" if result.skipped else outcome


def planted(suite):
    def right(self):
        self.assertEqual(1 + 1, 2)

    def wrong(self):
        self.assertEqual(1 + 1, 3)

    names = {CONFIG["good"]: right, CONFIG["bad"]: wrong}
    made = type("Test" + CONFIG["canary"], (unittest.TestCase,), names)
    mine = [unittest.TestSuite([made(name)]) for name in names]
    if chance.random() < 0.5:
        return unittest.TestSuite([mine[0], suite, mine[1]])
    return unittest.TestSuite([mine[1], suite, mine[0]])


def main():
    program = Program(module=None, argv=["python -m unittest", *sys.argv[1:]], exit=False)
    watch.look()
    result = program.result
    idle = result.testsRun == 0 and not result.skipped
    code = 1 if not result.wasSuccessful() else 5 if idle and sys.version_info >= (3, 12) else 0
    say("end", {"exit": code, "lines": lines.found()})
    # As in the driver of pytest: what is planted must not end a command that does more.
    failed = len(result.failures) + len(result.errors)
    spared = CONFIG.get("collect") or (CONFIG.get("canary") and failed == 1)
    sys.exit(0 if CONFIG.get("mild") and spared else code)


if __name__ == "__main__":
    main()
