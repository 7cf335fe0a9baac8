"""The pytest plugin that runs inside the sandbox: it reports, measures, and plants canaries.

Nothing on the host imports it. Its text is sent into a sandbox behind a line that sets
`CONFIG`; it must run on any Python and pytest a project brings, so it is plain and old-fashioned.
It shares its process with the code under test and can be lied to; `harness.verify.suite` says how
that is cross-checked.
"""

# It must run where only an old Python, pytest or coverage is, so modern idiom is not asked of it.
# ruff: noqa: ARG001, BLE001, PTH100, PTH118, PTH119, PTH120, PTH123, S110, S112, SIM105, S311, UP031
# mypy: ignore-errors

import ast
import json
import os
import random

import pytest

CONFIG = globals().get("CONFIG", {})
KINDS = {"passed": 0, "xfailed": 1, "skipped": 2, "failed": 3}
seen = {}
collected = []
tracer = None
place = {"root": "."}

if CONFIG.get("measure"):
    try:
        import coverage

        tracer = coverage.Coverage(
            data_file=None,
            config_file=False,
            include=[os.path.abspath(p) for p in CONFIG["measure"]],
        )
        tracer.start()
    except Exception:  # a project's own coverage may be too old, or the files unreadable
        tracer = None


def pytest_configure(config):
    place["root"] = str(config.rootpath)
    if CONFIG.get("canary"):
        config.option.maxfail = 0  # the canary's failure must not end the run


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session, config, items):
    keep = CONFIG.get("keep")
    if keep is not None:
        wanted = set(keep)
        items[:] = [item for item in items if item.nodeid in wanted]
    drop = set(CONFIG.get("drop", ()))
    if drop:
        items[:] = [item for item in items if item.nodeid not in drop]
    if CONFIG.get("canary") and items:
        plant(session, items)


def plant(session, items):
    """One test that passes and one that fails, at places nobody can foresee."""
    chance = random.Random(CONFIG["canary"])
    folder = os.path.dirname(str(items[0].path))
    path = os.path.join(folder, "test_%s.py" % CONFIG["canary"])
    good, bad = CONFIG["good"], CONFIG["bad"]
    with open(path, "w") as file:
        file.write("def %s():\n    assert 1 + 1 == 2\n\n\n" % good)
        file.write("def %s():\n    left = 1 + 1\n    assert left == 3\n" % bad)
    module = pytest.Module.from_parent(session, path=type(items[0].path)(path))
    for item in module.collect():
        items.insert(chance.randint(0, len(items)), item)


def pytest_collection_finish(session):
    for item in session.items:
        marks = [mark.name for mark in item.iter_markers()]
        collected.append(
            {"id": item.nodeid, "may_skip": any(m in marks for m in ("skip", "skipif", "xfail"))}
        )


def pytest_collectreport(report):
    if report.failed:
        note(report.nodeid or "collection", "failed", str(report.longrepr))
        if CONFIG.get("collect") and report.nodeid.endswith(".py"):
            read(report.nodeid)


def read(nodeid):
    """The tests of a module that cannot be imported (yet), from its text alone."""
    try:
        with open(os.path.join(place["root"], nodeid), "rb") as file:
            tree = ast.parse(file.read(2000000))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and is_test_class(node):
            for inner in node.body:
                found(inner, nodeid + "::" + node.name, node.decorator_list)
        else:
            found(node, nodeid, [])


def is_test_class(node):
    made = any(getattr(n, "name", "") == "__init__" for n in node.body)
    bases = [ast.dump(base) for base in node.bases]
    return any("TestCase" in b for b in bases) or (node.name.startswith("Test") and not made)


def found(node, prefix, outer):
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    if not node.name.startswith("test"):
        return
    marks = " ".join(ast.dump(d) for d in [*outer, *node.decorator_list])
    if "fixture" in marks:
        return
    may_skip = any("'%s" % word in marks for word in ("skip", "xfail", "expectedFailure"))
    collected.append({"id": prefix + "::" + node.name, "may_skip": may_skip, "static": True})


def pytest_runtest_logreport(report):
    outcome = report.outcome
    if outcome == "passed" and report.when != "call":
        return
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if outcome == "skipped" else "failed"
    note(report.nodeid, outcome, "" if outcome == "passed" else reason(report))


def reason(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return "%s:%s: %s" % (os.path.basename(str(crash.path)), crash.lineno, crash.message)
    return str(report.longrepr)


def note(nodeid, outcome, why):
    old = seen.get(nodeid)
    if old is None or KINDS[outcome] > KINDS[old["outcome"]]:
        seen[nodeid] = {"id": nodeid, "outcome": outcome, "why": why[-600:]}


def lines():
    """Executable and executed lines of the files to measure."""
    found = {}
    if tracer is None:
        return found
    try:
        tracer.stop()
    except Exception:  # a warning turned into an error; what was traced is there all the same
        pass
    for path in CONFIG["measure"]:
        try:
            _, statements, _, missing, _ = tracer.analysis2(os.path.abspath(path))
            found[path] = {"statements": statements, "missing": missing}
        except Exception:  # not parseable, or gone: then it is not measured
            continue
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    report = {
        "exit": int(exitstatus),
        "collected": collected,
        "tests": list(seen.values()),
        "lines": lines(),
    }
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.json"), "w") as file:
        json.dump(report, file)
