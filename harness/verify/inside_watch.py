"""What both drivers share inside the sandbox: the report's channel and the watch over the judges.

Nothing on the host imports it. Its text is sent into a sandbox as `ff_watch`, behind a line that
sets `CONFIG`, before any code of the project is loaded. Everything here shares its process with
hostile code: it makes lying hard and visible, not impossible.
"""

# It must run where only an old Python is, so modern idiom is not asked of it.
# ruff: noqa: ARG001, ARG002, B004, BLE001, PLC0415, PTH100, PTH102, PTH109, PTH110, PTH112, PTH118
# ruff: noqa: PTH119, PTH120, PTH123, PTH208, S110, S112, SIM101, SIM105, SIM905, UP031
# mypy: ignore-errors

import builtins
import fcntl
import json
import os
import random
import resource
import sys
import threading
import time
import types
import unittest

CONFIG = globals().get("CONFIG", {})
HOME = os.path.realpath(CONFIG.get("work") or os.getcwd())
OWN = os.path.dirname(os.path.realpath(__file__))
#: Where installed software lies, as known before the project could add to it.
INSTALLED = tuple(
    os.path.realpath(p) + os.sep
    for p in [*sys.path, os.path.dirname(os.__file__)]
    if p and (os.path.basename(p) in ("site-packages", "dist-packages") or p in os.__file__)
)
chance = random.SystemRandom()
#: Where programs that tests start keep which lines they ran, and how many are heard.
PROGRAMS = os.path.join(OWN, "lines")
MOST_PROGRAMS = 500

#: Who decides whether a test passed. Nothing of theirs may change while a project's code runs.
JUDGES = (
    "unittest.case unittest.suite unittest.result unittest.runner unittest.loader unittest.main "
    "unittest.async_case pluggy._callers pluggy._hooks pluggy._manager pluggy._result pytest "
    "_pytest.main _pytest.nodes _pytest.python _pytest.runner _pytest.reports _pytest.unittest "
    "_pytest.outcomes _pytest.skipping _pytest.fixtures _pytest.config _pytest.raises "
    "_pytest.python_api _pytest.assertion _pytest.assertion.rewrite _pytest.assertion.util"
).split()
#: Honest programs replace these; no verdict depends on them.
_FREE = ("print", "input", "open", "exit", "quit", "help", "__import__", "breakpoint", "_", "exec")


#: Hooks that come before or after all tests and are given none of them: code that is imported
#: could do the same.
_HARMLESS = (
    "pytest_addoption pytest_addhooks pytest_configure pytest_unconfigure pytest_report_header "
    "pytest_sessionstart pytest_assertrepr_compare pytest_terminal_summary"
).split()


# ------------------------------------------------------------------ the channel


def _channel():
    """The pipe that the harness reads. Children neither inherit it nor hear of it."""
    try:
        given = int(os.environ.pop("FIBREFLOW_REPORT", ""))
        # High, because tests of daemons close all low descriptors.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        lowest = max(100, min(most if most > 0 else 8192, 8192) - 64)
        found = fcntl.fcntl(given, fcntl.F_DUPFD_CLOEXEC, lowest)
        os.close(given)
    except (OSError, ValueError):
        return -1
    return found


def _speaker():
    fd, write, dumps, getpid, owner = _channel(), os.write, json.dumps, os.getpid, os.getpid()
    session = "%x" % chance.getrandbits(64)  # one command may run several

    def say(kind, data):
        """One line, out of this process at once: what was said cannot be unsaid."""
        if fd < 0 or getpid() != owner:
            return
        line = dumps([kind, data, session]).encode("utf-8", "replace") + b"\n"
        while line:
            line = line[write(fd, line) :]

    return say, fd >= 0


#: `heard`: this process is the one that the harness listens to.
say, heard = _speaker()

# ------------------------------------------------------------- who wrote a thing


def _module_of(space):
    """The file of the module whose names are `space`."""
    module = sys.modules.get(space.get("__name__"))
    return getattr(module, "__file__", None) if getattr(module, "__dict__", 0) is space else None


def _path_of(value):
    """The file a function or class was written in, "" when that cannot be told."""
    code = getattr(value, "__code__", None)
    if code is not None:
        path = os.path.realpath(os.path.join(HOME, code.co_filename))
        space = getattr(value, "__globals__", {})
        module = os.path.realpath(_module_of(space) or "")
        # Workers of xdist are sent its code and have no module for it.
        sent = space.get("__name__") == "__channelexec__"
        if path.startswith(INSTALLED) and module != path and not sent:
            return ""  # only claims to be installed
        return path
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if isinstance(value, type) and getattr(module, value.__name__, None) is value:
        return os.path.realpath(getattr(module, "__file__", None) or os.__file__)
    return ""


def plain_of(value):
    """The function behind a property or a method. Other things are not even asked: some warn."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, (classmethod, staticmethod, types.MethodType)):
        return value.__func__
    return value


def source(value):
    """None for installed software and the drivers, else the file below the project or ""."""
    value = plain_of(value)
    if isinstance(value, type(len)) or isinstance(value, type(object.__init__)):
        return None  # made in C: it decides nothing by itself
    path = _path_of(value)
    if path.startswith(INSTALLED) or os.path.dirname(path) == OWN:
        return None
    return os.path.relpath(path, HOME) if path and os.path.exists(path) else ""


# ------------------------------------------------------------ watching the judges


class Watch:
    """Compares the judges with what they were when it was made, and tells once of each change."""

    def __init__(self):
        self.first = self._all()
        self.told = []
        self._known = {}
        self._spent = 0.0
        self._begun = time.perf_counter()

    def _all(self):
        found = {}
        for name in JUDGES:
            module = sys.modules.get(name)
            for inner, value in list(vars(module).items()) if module else ():
                self._note(found, name + "." + inner, value)
                if isinstance(value, type) and value.__module__ == name:
                    for last, method in list(vars(value).items()):
                        self._note(found, "%s.%s.%s" % (name, inner, last), method)
        for name, value in list(vars(builtins).items()):
            if name not in _FREE:
                self._note(found, "builtins." + name, value)
        return found

    def _note(self, found, name, value):
        plain = plain_of(value)
        if callable(plain):
            found[name] = (plain, getattr(plain, "__code__", None))

    def look(self, hooks=(), whole=True):
        """`hooks`: further (name, function) in charge. Without `whole` it may be left out."""
        start = time.perf_counter()
        if not whole and self._spent > 0.03 * (start - self._begun) + 0.02:
            return
        now = self._all()
        for name, (old, code) in self.first.items():
            plain, its = now.get(name, (None, None))
            if plain is not old or its is not code:
                self._tell("replaced %s" % name, plain)
        self.look_at_hooks(hooks)
        for function in (sys.gettrace(), sys.getprofile()):
            if hasattr(function, "__code__"):
                self._tell("traces the tests", function)
        self._spent += time.perf_counter() - start

    def look_at_hooks(self, hooks):
        for hook, function in hooks:
            if id(function) not in self._known and hook not in _HARMLESS:
                self._known[id(function)] = function  # kept, so that no other takes its id
                self._tell("plugin", function)

    def _tell(self, what, value):
        file = source(value)
        if file is not None:
            self.tell([("plugin " + file) if what == "plugin" else what, file])

    def tell(self, change):
        """`change`: what, and the file of the project that does it."""
        if change not in self.told:
            self.told.append(change)
            say("foreign", change)


# ------------------------------------------------------------------- planting


def codes_of(value, depth=0):
    """The code that runs when `value`, a test, is called: its own and what it wraps."""
    found = []
    for name in ("__func__", "__wrapped__", "func"):
        inner = getattr(value, name, None)
        if callable(inner) and depth < 5:
            found += codes_of(inner, depth + 1)
    code = getattr(value, "__code__", None) or getattr(
        getattr(type(value), "__call__", None), "__code__", None
    )
    return [*found, code] if code is not None else found


class Failing:
    """While it lasts, the test raises at its first line, from within its own frame."""

    ERRORS = (AssertionError, ValueError, TypeError, KeyError, AttributeError)

    def __init__(self, value):
        self._codes = {id(code): code for code in codes_of(value)}
        self._error = chance.choice(self.ERRORS)
        self.struck = False

    def __enter__(self):
        self._old = sys.gettrace()
        threading.settrace(self._see)
        sys.settrace(self._see)
        return self

    def __exit__(self, *told):
        sys.settrace(self._old)
        threading.settrace(self._old)

    def _see(self, frame, event, arg):
        return self._strike if id(frame.f_code) in self._codes else None

    def _strike(self, frame, event, arg):
        self.struck = True
        raise self._error("%d != %d" % (chance.randint(0, 9), chance.randint(10, 99)))


def bare(case):
    """A unittest case without what it does before and after its test: twins leave no trace."""
    case.setUp = case.tearDown = lambda: None
    if hasattr(case, "asyncSetUp"):
        case.asyncSetUp = case.asyncTearDown = _nothing


async def _nothing():
    pass


def blunt(*args, **kwargs):
    """A test that fails, where tracing does not reach the real one."""
    raise AssertionError("%d != %d" % (chance.randint(0, 9), chance.randint(10, 99)))


class Purse:
    """How much of the time that twins may take is left."""

    def __init__(self, seconds):
        self.left = seconds

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *told):
        self.left -= time.perf_counter() - self._start


# ------------------------------------------------------------------- coverage


class Lines:
    """Executable and executed lines of the files to measure, by the sandbox's own coverage."""

    def __init__(self):
        self.shared = {}
        self._tracer = None
        # Tests that xdist shares out run in processes that report to the one that is heard.
        if not CONFIG.get("measure") or not (heard or "PYTEST_XDIST_WORKER" in os.environ):
            return
        try:
            import coverage

            self._tracer = coverage.Coverage(
                data_file=None,
                config_file=False,
                include=[os.path.abspath(p) for p in CONFIG["measure"]],
            )
            self._tracer.start()
            if CONFIG.get("programs") and heard:
                self._follow_programs()
        except Exception:  # a project's own coverage may be too old, or the files unreadable
            self._tracer = None

    def _follow_programs(self):
        """Every Python that is started from here on finds this first, unless told otherwise."""
        os.mkdir(PROGRAMS)
        with open(os.path.join(OWN, "measured.json"), "w") as file:
            json.dump([os.path.abspath(p) for p in CONFIG["measure"]], file)
        with open(os.path.join(OWN, "sitecustomize.py"), "w") as file:
            file.write(CONFIG["programs"])

    def _add_programs(self):
        import coverage

        data = self._tracer.get_data()
        for name in sorted(os.listdir(PROGRAMS))[:MOST_PROGRAMS]:
            try:
                one = coverage.CoverageData(os.path.join(PROGRAMS, name))
                one.read()
                data.update(one)
            except Exception:  # killed while it wrote, or not written by it at all
                continue

    def found(self):
        """path -> statements and missing."""
        found = {}
        if self._tracer is None:
            return found
        try:
            self._tracer.stop()
        except Exception:  # a warning turned into an error; what was traced is there all the same
            pass
        if os.path.isdir(PROGRAMS):
            self._add_programs()
        for path in CONFIG["measure"]:
            try:
                _, statements, _, missing, _ = self._tracer.analysis2(os.path.abspath(path))
                found[path] = {"statements": statements, "missing": missing}
            except Exception:  # not parseable, or gone: then it is not measured
                continue
        return found

    def add(self, found):
        """What one of several processes that share the tests has measured."""
        for path, its in found.items():
            old = self.shared.setdefault(path, its)
            missing = [n for n in old["missing"] if n in set(its["missing"])]
            self.shared[path] = {"statements": its["statements"], "missing": missing}


lines = Lines()
assert unittest.case  # its judges must be loaded before they are watched
