"""The pytest plugin that runs inside the sandbox: it reports as it goes, and plants failing tests.

Nothing on the host imports it; its text is sent beside `inside_watch.py`. It must run on any Python
and pytest a project brings, so it is plain and old-fashioned. It shares its process with the code
under test and can be lied to; `harness.verify.suite` says how that is cross-checked.
"""

# It must run where only an old Python or pytest is, so modern idiom is not asked of it.
# ruff: noqa: ARG001, ARG002, BLE001, PLC0415, PTH118, PTH119, PTH120, PTH123, S311, UP031
# mypy: ignore-errors

import copy
import os
import pathlib
import random
import unittest

import pytest
from _pytest.unittest import TestCaseFunction
from ff_exam import Written, read_tests, whence
from ff_watch import CONFIG, Failing, Purse, Watch, bare, blunt, chance, codes_of, heard, lines, say
from ff_watch import source as source_of

#: By which a test says that it is not to count.
GIVEN_UP = (pytest.skip.Exception, pytest.xfail.Exception, unittest.SkipTest)
#: Marks under which a test may end otherwise than its code does.
SOFT = ("skip", "skipif", "xfail", "flaky", "incremental")
place = {}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    # Plugins are loaded, no code of the project is yet, unless a plugin is the project's own.
    if "watch" not in place:
        place["watch"] = Watch()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # A run of pytest within a test of this one is not this one.
    mine = heard or hasattr(config, "workerinput")
    if not mine or "config" in place:
        return
    place["config"] = config
    if "watch" not in place:  # or one is made, by looking at a thousand functions, in any case
        place["watch"] = Watch()
    if CONFIG.get("canary"):
        config.option.maxfail = 0  # the canary's failure must not end the run
    config.pluginmanager.register(Driver(config, place["watch"]), "ff_driver")


class Driver:
    """One session. `twins`: node id and outcome of each real test that was made to fail."""

    def __init__(self, config, watch):
        self.config = config
        self.watch = watch
        self.twins = []
        self.twin, self.struck = None, False
        self.known = {}
        self.raised, self.plain = {}, True
        self.written = Written(self.rewritten)
        self.purse = Purse(CONFIG.get("twins", 0))

    # ---------------------------------------------------------- collection

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session, config, items):
        keep = CONFIG.get("keep")
        if keep is not None:
            wanted = set(keep)
            items[:] = [item for item in items if item.nodeid in wanted]
        drop = set(CONFIG.get("drop", ()))
        if drop:
            items[:] = [item for item in items if item.nodeid not in drop]
        if CONFIG.get("canary") and items:
            plant(session, items)

    def pytest_collection_finish(self, session):
        collected = []
        for item in session.items:
            collected.append({"id": item.nodeid, "may_skip": may_skip(item)})
            self.known[item.nodeid] = codes(item)
        say("collected", collected)
        self.look()
        # A project's own hook may well let a test pass that raises.
        self.plain = all(source_of(hook.function) is None for _, hook in self.deciding())
        if CONFIG.get("canary"):
            self.compare(session.items)

    def compare(self, items):
        """Whether the exam is what stands in its files: code under test may have emptied it."""
        for item in items:
            function = getattr(item, "function", None)
            outer = item.cls.__name__ if getattr(item, "cls", None) else ""
            name = getattr(item, "originalname", "")
            if hasattr(function, "__code__") and self.written.differs(
                function, str(item.path), outer, name
            ):
                file = source_of(function)
                if file is not None:
                    own = os.path.realpath(function.__code__.co_filename) == str(item.path)
                    self.watch.tell(["replaced the code of %s" % item.nodeid, "" if own else file])

    def rewritten(self, path):
        """With pytest's own assertions in it."""
        from _pytest.assertion.rewrite import _rewrite_test

        return _rewrite_test(pathlib.Path(path), self.config)[1]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector):
        made = yield
        report = made.get_result()
        call = getattr(report, "call", None)
        if report.skipped and call is not None and call.excinfo is not None:
            report.ff_whence = whence(call.excinfo.value, self.written)

    def pytest_collectreport(self, report):
        if report.passed:
            return
        if report.failed:
            self.say(report.nodeid or "collection", "failed", str(report.longrepr))
        if not report.nodeid.endswith(".py"):
            return
        path = os.path.join(str(self.config.rootpath), report.nodeid)
        tests = [static(report.nodeid, *test) for test in read_tests(path)]
        if CONFIG.get("collect"):
            say("collected", [test for test in tests if self.asked(test["id"])])
        elif report.skipped:
            for test in tests:
                self.say(test["id"], "skipped", reason(report), getattr(report, "ff_whence", None))

    def asked(self, test):
        """Whether the arguments of the run choose a test that is known from its text alone."""
        file = test.partition("::")[0]
        named = [str(a) for a in self.config.args if os.path.basename(file) + "::" in str(a)]
        tails = [a.partition("::")[2].partition("[")[0] for a in named]
        own = test.partition("::")[2]
        return not tails or any(own == tail or own.startswith(tail + "::") for tail in tails)

    def pytest_deselected(self, items):
        say("deselected", [item.nodeid for item in items])

    # -------------------------------------------------------------- running

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        self.look(item)
        # Neither by order nor by number can it be told which run of a test is the real one.
        turn = chance.random() if self.fit(item) else 1
        if turn < 0.45:
            self.fail(item)
        yield
        if 0.45 <= turn < 0.75 and getattr(nextitem, "parent", None) is item.parent:
            self.fail(item)

    def fit(self, item):
        """Whether a failing twin of the test tells something and harms nothing."""
        if self.purse.left <= 0 or not isinstance(item, pytest.Function):
            return False
        if any(mark.name in SOFT for mark in item.iter_markers()):
            return False
        # The project's own hooks would take the twin's failure for a real one.
        hook = getattr(item.ihook, "pytest_runtest_makereport", None)
        return all(source_of(h.function) is None for h in hook.get_hookimpls())

    def fail(self, item):
        """The same test once more, made to fail within; no fixture is made for it."""
        self.struck, outcome = False, self.run(item)
        if outcome == "passed" and not self.struck:
            self.struck, outcome = True, self.run(item)
        if outcome is not None:
            self.twins.append([item.nodeid, outcome])
            say("twin", self.twins[-1])

    def run(self, item):
        from _pytest.runner import runtestprotocol

        try:
            self.twin = twin_of(item)
        except Exception:  # made by a plugin in its own way
            return None
        with self.purse:
            reports = runtestprotocol(self.twin, log=False, nextitem=item)
        self.twin = None
        return next((r.outcome for r in reports if r.outcome != "passed"), "passed")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item):
        if item is not self.twin:
            # What came since the test began, and may be gone before it has ended.
            self.watch.look_at_hooks([(name, hook.function) for name, hook in self.deciding()])
            self.look_at(item)
            self.raised[item.nodeid] = error_of(item, (yield))
            return
        if isinstance(item, TestCaseFunction):
            bare(item.instance if hasattr(item, "instance") else item._testcase)
        if self.struck:  # tracing did not reach it
            item._obj = blunt
            yield
        else:
            with Failing(item.obj) as failing:
                yield
            self.struck = failing.struck

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        before = call.excinfo.value if call.excinfo is not None else None
        made = yield
        error = call.excinfo.value if call.excinfo is not None else None
        # unittest's own is made anew by pytest, and what a case kept comes only now.
        error = before if isinstance(before, GIVEN_UP) else error
        if isinstance(error, GIVEN_UP):
            made.get_result().ff_whence = whence(error, self.written)

    def pytest_runtest_logreport(self, report):
        outcome = report.outcome
        if outcome == "passed" and report.when != "call":
            return
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if outcome == "skipped" else "failed"
        why = "" if outcome == "passed" else reason(report)
        error = self.raised.get(report.nodeid) if report.when == "call" and self.plain else None
        if outcome == "passed" and error is not None:
            outcome, why = "failed", "raised %s, and was reported as passed" % error
        self.say(report.nodeid, outcome, why, getattr(report, "ff_whence", None))

    def say(self, nodeid, outcome, why, way=None):
        say("test", {"id": nodeid, "outcome": outcome, "why": why[-600:], "whence": way})

    def deciding(self):
        """The hooks that decide over a test's outcome, by name."""
        for name in ("pytest_runtest_call", "pytest_pyfunc_call", "pytest_runtest_makereport"):
            for hook in getattr(self.config.hook, name).get_hookimpls():
                yield name, hook

    def look(self, item=None):
        hooks = [
            (name, hook.function)
            for name, caller in list(vars(self.config.hook).items())
            for hook in getattr(caller, "get_hookimpls", list)()
        ]
        self.watch.look(hooks, whole=item is None)
        if item is not None:
            self.look_at(item)

    def look_at(self, item):
        for thing in (item, item.session):
            for name in vars(thing):
                if callable(getattr(type(thing), name, None)):
                    self.watch.tell(["replaced %s of a test" % name, ""])
        now = codes(item)
        if now != self.known.get(item.nodeid, now):
            file = source_of(item.function)
            if file is not None:
                self.watch.tell(["replaced the code of %s" % item.nodeid, file])

    # -------------------------------------------------------------- ending

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        told = getattr(node, "workeroutput", {}).get("fibreflow", ((), (), {}))
        for change in told[0]:
            say("foreign", change)
        for twin in told[1]:
            say("twin", twin)
        lines.add(told[2])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        self.look()
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["fibreflow"] = [self.watch.told, self.twins, lines.found()]
        shared = self.config.pluginmanager.hasplugin("dsession")
        say("end", {"exit": int(exitstatus), "lines": lines.shared if shared else lines.found()})
        if CONFIG.get("mild"):
            self.spare(session)

    def spare(self, session):
        """The planted failure, and a base that cannot be collected, must not end a command that
        runs pytest amid other things; what was said stands."""
        if CONFIG.get("collect") or (CONFIG.get("canary") and session.testsfailed == 1):
            session.exitstatus = 0


def error_of(item, made):
    """By what error a test's call failed, None when it did not; unittest's are kept aside."""
    kept = getattr(item, "_excinfo", None) or []
    values = [made.excinfo[1]] if made.excinfo else [info.value for info in kept]
    told = [type(value).__name__ for value in values if not isinstance(value, GIVEN_UP)]
    return told[0] if told else None


def plant(session, items):
    """One test that passes and one that fails, at places nobody can foresee."""
    foreseen = random.Random(CONFIG["canary"])  # workers of xdist must agree
    folder = os.path.dirname(str(items[0].path))
    path = os.path.join(folder, "test_%s.py" % CONFIG["canary"])
    good, bad = CONFIG["good"], CONFIG["bad"]
    with open(path, "w") as file:
        file.write("def %s():\n    assert 1 + 1 == 2\n\n\n" % good)
        file.write("def %s():\n    left = 1 + 1\n    assert left == 3\n" % bad)
    module = pytest.Module.from_parent(session, path=type(items[0].path)(path))
    for item in module.collect():
        items.insert(foreseen.randint(0, len(items)), item)


def codes(item):
    if not isinstance(item, pytest.Function):
        return None
    return [id(code) for code in codes_of(getattr(item, "_obj", None) or item.function)]


def may_skip(item):
    """Whether marks say of it, as things are, that it need not pass."""
    for thing in (item.cls if hasattr(item, "cls") else None, getattr(item, "obj", None)):
        for name in ("__unittest_skip__", "__unittest_expecting_failure__"):
            if getattr(thing, name, False):
                return True
    try:
        from _pytest.skipping import evaluate_skip_marks, evaluate_xfail_marks

        return bool(evaluate_skip_marks(item) or evaluate_xfail_marks(item))
    except (Exception, pytest.fail.Exception):  # an old pytest, or a condition that raises
        return any(mark.name in ("skip", "skipif", "xfail") for mark in item.iter_markers())


def twin_of(item):
    """A second item of the same name, parent and function that asks for no fixtures."""
    twin = copy.copy(item)
    if item.cls is not None:
        vars(twin).pop("_instance", None)
        vars(twin).pop("_obj", None)
    twin.fixturenames = []
    twin.user_properties, twin._report_sections = [], []
    twin.stash = pytest.Stash()
    twin._initrequest()
    twin.funcargs.update(dict.fromkeys(item._fixtureinfo.argnames))
    twin.repr_failure = unshown
    return twin


def unshown(excinfo, style=None):
    """Nobody reads how a twin failed; to show it takes longer than to run it."""
    return "failed as planned"


def static(nodeid, outer, name, may_skip):
    parts = [nodeid, outer, name] if outer else [nodeid, name]
    return {"id": "::".join(parts), "may_skip": may_skip, "static": True}


def reason(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return "%s:%s: %s" % (os.path.basename(str(crash.path)), crash.lineno, crash.message)
    return str(report.longrepr)
