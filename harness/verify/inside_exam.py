"""What both drivers know of the exam's text inside the sandbox: its tests, its code, its skips.

Nothing on the host imports it. Its text is sent into a sandbox as `ff_exam`, beside `ff_watch`.
"""

# It must run where only an old Python is, so modern idiom is not asked of it.
# ruff: noqa: BLE001, PTH110, PTH112, PTH118, PTH120, PTH123, S112, UP031
# mypy: ignore-errors

import ast
import os
import re
import sys
from importlib.util import find_spec

from ff_watch import HOME, INSTALLED, OWN


class Written:
    """The code of tests as it stands in their files. `compilers`: path -> code, the first being
    Python's own."""

    def __init__(self, *compilers):
        self._compilers = [_compiled, *compilers]
        self._files = {}

    def differs(self, function, path, outer, name):
        """Whether a test that nothing in its file decorates runs other code than is written."""
        plain, codes = self._known(path)
        return (outer, name) in plain and function.__code__ not in codes

    def has(self, code, path):
        """Whether code that names `path` as its file stands there."""
        return code in self._known(path)[1]

    def _known(self, path):
        if path not in self._files:
            self._files[path] = self._read(path)
        return self._files[path]

    def _read(self, path):
        codes = set()
        for compiler in self._compilers:
            try:
                found = [compiler(path)]
            except Exception:  # not to be had in this version
                continue
            for code in found:
                found += [c for c in code.co_consts if isinstance(c, type(code))]
            codes |= set(found)
        plain = [t[:2] for t in read_tests(path, undecorated=True)] if codes else []
        return set(plain), codes


def _compiled(path):
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)


# ----------------------------------------------------------- whence a test is skipped

_SPEAKS = re.compile(rb"skip|xfail|requires?", re.IGNORECASE)


def whence(error, written):
    """How a test came to be given up: None when marks or tools did it before its code ran, else
    the project's `files` on the way, and whether the innermost has `said` so in its text."""
    files, said = _way(error, written)
    if not files and error.__context__ is not None:  # unittest's, made anew by pytest
        error = error.__context__
        files, said = _way(error, written)
    if not files:
        return None
    return {"files": sorted(set(files)), "said": said and not _pretended(error)}


def _way(error, written):
    files, said, step = [], False, error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        path = os.path.realpath(os.path.join(HOME, code.co_filename))
        ours = path.startswith(INSTALLED) or os.path.dirname(path) == OWN
        if path.startswith(HOME + os.sep) and not ours and os.path.exists(path):
            files.append(os.path.relpath(path, HOME))
            said = _speaks(path, step.tb_lineno) and written.has(code, path)
        elif not ours and not code.co_filename.startswith("<frozen"):
            said = False  # made from text at run time, or lying elsewhere
        step = step.tb_next
    return files, said


def _speaks(path, number):
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    return bool(_SPEAKS.search(lines[number - 1] if 0 < number <= len(lines) else b""))


def _pretended(error):
    """Whether it was for want of a module that is the project's own, or that is there."""
    step, names = error.__traceback__, []
    while step is not None:
        if step.tb_frame.f_code.co_name == "importorskip":
            names.append(step.tb_frame.f_locals.get("modname"))
        step = step.tb_next
    if isinstance(error.__context__, ImportError):
        names.append(error.__context__.name)
    return any(not isinstance(name, str) or _own(name.partition(".")[0]) for name in names)


def _own(name):
    places = [os.path.join(HOME, folder, name) for folder in ("", "src", "lib")]
    if any(os.path.isdir(p) or os.path.exists(p + ".py") for p in places):
        return True
    try:
        return find_spec(name) is not None and name not in sys.modules
    except (ImportError, ValueError):
        return False


# ------------------------------------------------- tests that cannot be imported yet


def read_tests(path, undecorated=False):
    """The tests of a module from its text alone: (class or "", name, may a mark skip it).

    `undecorated`: only those that are defined once and run as they are written."""
    tree = _tree(path)
    if tree is None:
        return []
    found, marks = [], _Marks(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and _is_test_class(node, tree, path):
            for inner in node.body:
                found += _read(inner, node.name, node.decorator_list, marks)
        else:
            found += _read(node, "", [], marks)
    if undecorated:
        names = [test[:2] for test in found]
        found = [test for test in found if test[3] and names.count(test[:2]) == 1]
    return [test[:3] for test in found]


def _tree(path):
    try:
        with open(path, "rb") as file:
            return ast.parse(file.read(2000000))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _is_test_class(node, tree, path):
    made = any(getattr(n, "name", "") == "__init__" for n in node.body)
    bases = [ast.dump(base) for base in node.bases]
    if any("TestCase" in b for b in bases) or (node.name.startswith("Test") and not made):
        return True
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return any(_is_case(name, tree, path, 0) for name in names)


def _is_case(name, tree, path, depth):
    """Whether a class that another derives from is a unittest case, here or where it comes from."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            names = [base.id for base in node.bases if isinstance(base, ast.Name)]
            return any("TestCase" in ast.dump(base) for base in node.bases) or (
                depth < 3 and any(_is_case(n, tree, path, depth + 1) for n in names)
            )
        if isinstance(node, ast.ImportFrom) and any(
            (n.asname or n.name) == name for n in node.names
        ):
            named = next(n.name for n in node.names if (n.asname or n.name) == name)
            for place in _places(node, path):
                found = _tree(place)
                if found is not None:
                    return _is_case(named, found, place, depth)
    return False


def _places(node, path):
    """Where the module of an import may lie."""
    inner = (node.module or "__init__").replace(".", os.sep) + ".py"
    folder = os.path.dirname(path)
    for _ in range(node.level - 1):
        folder = os.path.dirname(folder)
    return (
        [os.path.join(folder, inner)]
        if node.level
        else [os.path.join(place, inner) for place in (HOME, folder, os.path.join(HOME, "src"))]
    )


class _Marks:
    """What decorators of a module may skip by: `always` holds for all its tests."""

    def __init__(self, tree):
        self._named = {}
        self._imported = set()
        for node in tree.body:
            if isinstance(node, ast.Assign):
                self._named.update({t.id: node.value for t in node.targets if hasattr(t, "id")})
            elif isinstance(node, ast.ImportFrom) and (node.level or "test" in node.module):
                self._imported |= {n.asname or n.name for n in node.names}
        self.always = "pytestmark" in self._named and self.skips(self._named["pytestmark"])

    def skips(self, node, depth=0):
        text = ast.dump(node)
        if any("'%s" % word in text for word in ("skip", "xfail", "expectedFailure")):
            return True
        if "attr='parametrize'" in text and _is_empty(node):
            return True
        names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
        known = [self._named[n] for n in names if n in self._named]
        return any(n in self._imported for n in names) or (
            depth < 3 and any(self.skips(value, depth + 1) for value in known)
        )


def _is_empty(call):
    values = call.args[1:2] if isinstance(call, ast.Call) else []
    return bool(values) and isinstance(values[0], (ast.List, ast.Tuple)) and not values[0].elts


def _read(node, outer, decorators, marks):
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return []
    given = [*decorators, *node.decorator_list]
    if not node.name.startswith("test") or any("fixture" in ast.dump(d) for d in given):
        return []
    may_skip = marks.always or any(marks.skips(d) for d in given)
    free = all("attr='mark'" in ast.dump(d) for d in given)
    return [(outer, node.name, may_skip, free)]
