"""Evaluates probes inside the sandbox and prints a digest of each outcome, one JSON line each.

Nothing on the host imports it; its text is sent. What an outcome is: the value in a form that
does not depend on addresses, hashing or the order of sets and dictionaries; or the exception's
type; and what was printed. What cannot be imported has no outcome. It shares its process with
hostile code, which can lie about itself, and only about itself: it does not see what its rivals
answer.
"""

# It must run on any Python a project brings, so modern idiom is not asked of it.
# ruff: noqa: ARG001, BLE001, PTH123, S102, S307, UP031
# mypy: ignore-errors

import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import os
import re
import signal
import sys

SECONDS = 2
DEPTH = 20
MANY = 2000


class TooSlow(BaseException):
    pass


def ring(*_):
    raise TooSlow


def form(value, depth=0):
    """Equal for values that tests would call equal, and between processes."""
    if depth > DEPTH:
        return "..."
    for kinds, how in FORMS:
        if isinstance(value, kinds):
            return how(value, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return type(value).__name__ + form(fields, depth + 1)
    if hasattr(value, "__next__"):
        return "iter" + form(list(itertools.islice(value, MANY)), depth + 1)
    if type(value).__repr__ is object.__repr__ and hasattr(value, "__dict__"):
        return type(value).__name__ + form(vars(value), depth + 1)
    return re.sub(r"0x[0-9a-fA-F]+", "0x", repr(value))


def plain(value, depth):
    return repr(value)


def number(value, depth):
    return repr(int(value)) if value.is_integer() else repr(value)


def mapping(value, depth):
    pairs = [(form(k, depth), form(v, depth)) for k, v in value.items()]
    return "{%s}" % ", ".join("%s: %s" % pair for pair in sorted(pairs[:MANY]))


def unordered(value, depth):
    return "set(%s)" % ", ".join(sorted(form(v, depth) for v in value))


def series(value, depth):
    inner = ", ".join(form(v, depth) for v in value[:MANY])
    return ("(%s)" if isinstance(value, tuple) else "[%s]") % inner


FORMS = (
    ((bool, int, complex, str, bytes, type(None)), plain),
    (float, number),
    (dict, mapping),
    ((set, frozenset), unordered),
    ((list, tuple), series),
)


def outcome(probe):
    printed, space = io.StringIO(), {}
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            for line in probe["imports"]:
                exec(line, space)
        except BaseException:  # what it does not offer it cannot be asked
            return None
        try:
            said = form(eval(probe["expression"], space))
        except TooSlow:
            return None
        except BaseException as error:
            said = "raises " + type(error).__name__
    text = said + "\0" + printed.getvalue()[:100000]
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with open(sys.argv[1]) as file:
        probes = json.load(file)
    signal.signal(signal.SIGALRM, ring)
    for number, probe in enumerate(probes):
        signal.alarm(SECONDS)
        try:
            digest = outcome(probe)
        except TooSlow:
            digest = None
        signal.alarm(0)
        out.write(json.dumps([number, digest]) + "\n")
        out.flush()


main()
