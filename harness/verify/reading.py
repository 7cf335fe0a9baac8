"""Measures Python texts for `harness.verify.measuring`: a program that reads and never runs them.

Started as `python -I reading.py`. One JSON line per question, `{"after": {path: text}, "before":
{path: text}}`, and one per answer, the same with `{"lint", "complexity", "security"}` for each
text; what could not be measured is null. The tools are imported once; each question is answered
by a fork with limits of its own, so that no text can spoil what is said of the next. No tool reads
a setting or a plugin of the project, and comments that silence a tool are not heeded.
"""

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from bandit.core import config, constants, manager
from radon.visitors import ComplexityVisitor
from ruff import find_ruff_bin

#: What tends to be a flaw whatever a project's taste: errors, likely bugs. Security is bandit's,
#: complexity radon's; left out is what is a matter of taste, such as the length of lines.
_RULES = "E,F,W,B"
_IGNORED = "E501"
#: Points of a security finding by its severity: as bandit's own score, but for its zero point.
_POINTS = {constants.LOW: 1, constants.MEDIUM: 3, constants.HIGH: 5}
_SECONDS = 20
_BYTES = 1 << 30


def main() -> None:
    logging.disable(logging.CRITICAL)
    questions = sys.stdin.buffer
    while line := questions.readline():
        with tempfile.TemporaryDirectory(prefix="measure-") as folder:
            answer = _answer(line, folder)
        sys.stdout.buffer.write(answer if answer.endswith(b"\n") else b"null\n")
        sys.stdout.buffer.flush()


def _answer(line: bytes, folder: str) -> bytes:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _answer_and_leave(line, folder, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def _answer_and_leave(line: bytes, folder: str, write: int) -> NoReturn:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
        answer = json.dumps(_measured(json.loads(line), Path(folder))) + "\n"
        with os.fdopen(write, "wb") as pipe:
            pipe.write(answer.encode())
        code = 0
    finally:
        os._exit(code)


def _measured(sides: dict[str, dict[str, str]], folder: Path) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    places: dict[str, dict[str, Any]] = {}
    for side, texts in sides.items():
        found[side] = {}
        for number, (path, text) in enumerate(texts.items()):
            # Names of our own; what a linter does differently in __init__.py stays so.
            module = "__init__.py" if path.rpartition("/")[2] == "__init__.py" else "module.py"
            place = folder / f"{side}-{number}" / module
            place.parent.mkdir()
            place.write_bytes(text.encode("utf-8", "surrogateescape"))
            places[str(place)] = found[side][path] = {"complexity": _complexity(text)}
    for what, tool in (("lint", _lint), ("security", _security)):
        counts = tool(sorted(places))
        for name, measures in places.items():
            measures[what] = counts.get(name)
    return found


def _complexity(text: str) -> dict[str, int] | None:
    """McCabe's number of every function and method, by its qualified name."""
    try:
        visitor = ComplexityVisitor.from_code(text, no_assert=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    blocks = [*visitor.functions, *(m for c in visitor.classes for m in c.methods)]
    found: dict[str, int] = {}
    for block in blocks:  # of two of the same name the more complex one
        found[block.fullname] = max(found.get(block.fullname, 0), block.complexity)
    return found


def _lint(places: list[str]) -> dict[str, int]:
    command = [
        find_ruff_bin(), "check", "--isolated", "--no-cache", "--ignore-noqa", "--exit-zero",
        "--output-format", "json", "--target-version", "py313", "--select", _RULES,
        "--ignore", _IGNORED, *places,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
    counts = dict.fromkeys(places, 0) if done.returncode == 0 else {}
    for finding in json.loads(done.stdout) if counts else ():
        counts[os.path.realpath(finding["filename"])] += 1
    return counts


def _security(places: list[str]) -> dict[str, int]:
    # `assert` in product code is taste, and in tests it is the point.
    checks = manager.BanditManager(
        config.BanditConfig(), "file", profile={"exclude": ["B101"]}, ignore_nosec=True
    )
    checks.files_list = list(places)
    checks.run_tests()
    counts = dict.fromkeys(checks.files_list, 0)  # what could not be read was taken out
    for issue in checks.get_issue_list():
        counts[issue.fname] += _POINTS.get(issue.severity, 0)
    return counts


if __name__ == "__main__":
    main()
