"""Finds, in what a failing program printed, the error it died of and where in the repository.

Reads Python's tracebacks, pytest's sections, Node's and Go's stacks. The text is hostile: it is
cut before it is read, and what is not understood is left out, never guessed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

#: Characters of output that are looked at: the end, where the error is.
MOST = 60_000
#: Of one line. Bounds what hostile text can cost a regular expression.
_LINE = 1_000

#: Parts of a path that say "not written in this repository".
_FOREIGN = (
    "site-packages", "dist-packages", "node_modules", "/usr/", "/opt/", "/lib/python", "<frozen",
    "<string>", "<stdin>", "node:", "internal/", "/go/src/", "/pkg/mod/", "_testmain.go", "[eval]",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """A place: `path` relative to the repository, `function` empty at the top of a module."""

    path: str
    function: str = ""

    @property
    def place(self) -> str:
        """`package.module:function`, without line numbers, which move with every edit."""
        return f"{module_of(self.path)}:{self.function}" if self.function else module_of(self.path)


@dataclass(frozen=True, slots=True)
class Raised:
    """An error as printed: `error` is its type, `frames` from the outermost to the innermost."""

    error: str
    message: str
    frames: tuple[Frame, ...] = ()


def module_of(path: str) -> str:
    """`a/b/c.py` as `a.b.c`; other languages keep their path without the suffix."""
    pure = PurePosixPath(path)
    stem = pure.with_suffix("") if pure.suffix else pure
    return ".".join(stem.parts) if pure.suffix in {".py", ""} else str(stem)


def in_repository(path: str, roots: Sequence[str]) -> str | None:
    """`path` relative to the repository, None when it lies elsewhere. `roots` are absolute."""
    for root in roots:
        if path.startswith(f"{root.rstrip('/')}/"):
            path = path[len(root.rstrip("/")) + 1 :]
            break
    if path.startswith("/") or any(part in path for part in _FOREIGN) or ".." in path:
        return None
    return path.removeprefix("./") or None


def innermost(raised: Raised) -> Frame | None:
    """The last frame inside the repository; every frame of a `Raised` is."""
    return raised.frames[-1] if raised.frames else None


def read(output: str, roots: Sequence[str] = (), test: str = "") -> Raised | None:
    """The error that `output` ends in. `test`: a failing test's id, whose section of a pytest
    report is looked at when there is one."""
    lines = output[-MOST:].splitlines()
    text = "\n".join(line[:_LINE] for line in lines)
    section = _pytest_section(text, test)
    if section is not None:
        return _pytest(section, roots) or _python(section, roots)
    for reader in (_python, _node, _go):
        found = reader(text, roots)
        if found is not None:
            return found
    return None


# --------------------------------------------------------------------------------- pytest

_HEAD = re.compile(r"^_{3,} (ERROR (?:collecting|at \w+ of) )?(\S.*?) _{3,}$", re.MULTILINE)
_ENTRY = re.compile(
    r"^(?P<path>[^\s:][^:\n]*\.py):\d+: "
    r"(?:in (?P<function>\S+)|(?P<error>[A-Za-z_][\w.]*))?[ \t]*$",
    re.MULTILINE,
)
_DEF = re.compile(r"^[> ]?[ \t]*(?:async )?def (\w+)\(", re.MULTILINE)
_E_LINE = re.compile(r"^E +(?P<error>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$", re.MULTILINE)
_E_ANY = re.compile(r"^E +(?P<message>\S.*)$", re.MULTILINE)
_E_FILE = re.compile(r'^E +File "(?P<path>[^"\n]+)", line \d+$', re.MULTILINE)


def _pytest_section(text: str, test: str) -> str | None:
    """The part of a report about `test`, such as `tests/a.py::TestX::test_y[1]`, or, when no
    test is known, about a module that could not be collected."""
    path, _, inside = test.partition("::")
    wanted = {inside.replace("::", "."), path} - {""}
    heads = list(_HEAD.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        if head[2] in wanted or (not test and (head[1] or "").startswith("ERROR collecting")):
            end = following.start() if following else _summary(text, head.end())
            return text[head.end() : end]
    return None


def _summary(text: str, start: int) -> int:
    end = text.find("\n=====", start)
    return end if end >= 0 else len(text)


def _pytest(section: str, roots: Sequence[str]) -> Raised | None:
    frames: list[Frame] = []
    begin, error = 0, ""
    for entry in _ENTRY.finditer(section):
        path = in_repository(entry["path"], roots)
        defined = _DEF.findall(section, begin, entry.start())
        begin = entry.end()
        if path is not None:
            name = entry["function"] or (defined[0] if defined else "")
            frames.append(Frame(path, "" if name == "<module>" else name))
        error = entry["error"] or error
    frames += [
        Frame(path)
        for match in _E_FILE.finditer(section)
        if (path := in_repository(match["path"], roots)) is not None
    ]
    error, message = _said(section, error)
    return Raised(error, message, tuple(frames)) if error or message else None


def _said(section: str, error: str) -> tuple[str, str]:
    """Type and message of the error that ended a test. `error` is how its place names it; a
    chain of errors prints the last one last."""
    said = [m for m in _E_LINE.finditer(section) if _is_error(m["error"])]
    same = [m for m in said if m["error"].rpartition(".")[2] == error.rpartition(".")[2]]
    if same or said:
        chosen = (same or said)[-1]
        return chosen["error"], chosen["message"] or ""
    bare = _E_ANY.search(section)
    return error, bare["message"] if bare else ""


def _is_error(name: str) -> bool:
    return name.rpartition(".")[2].endswith(("Error", "Exception", "Exit", "Warning", "Interrupt"))


# --------------------------------------------------------------------------------- Python

_FILE = re.compile(
    r'^[ \t]*File "(?P<path>[^"\n]+)", line \d+(?:, in (?P<function>\S+))?', re.MULTILINE
)
_LAST = re.compile(r"^(?P<error>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$", re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last):"


def _python(text: str, roots: Sequence[str]) -> Raised | None:
    start = text.rfind(_TRACEBACK)
    if start < 0:  # a SyntaxError of the main program has a place and no traceback
        found = _FILE.search(text)
        start = found.start() if found else -1
    if start < 0:
        return None
    part = text[start:]
    frames = [
        Frame(path, "" if match["function"] in {None, "<module>"} else match["function"])
        for match in _FILE.finditer(part)
        if (path := in_repository(match["path"], roots)) is not None
    ]
    ends = (m for m in _LAST.finditer(part) if _is_error(m["error"]) or m["message"] is not None)
    last = next(ends, None)
    return Raised(last["error"], last["message"] or "", tuple(frames)) if last else None


# ----------------------------------------------------------------------- JavaScript and Go

_NODE_ERROR = re.compile(
    r"^[ \t]*(?:Uncaught )?(?P<error>(?:[A-Z]\w*)?(?:Error|Exception))(?: \[\w+\])?: "
    r"(?P<message>.*)$",
    re.MULTILINE,
)
_NODE_FRAME = re.compile(
    r"^[ \t]*(?:at )?(?:(?:async )?(?P<function>[\w.$<>\[\] ]+?) )?"
    r"\(?(?P<path>(?:file://)?[^\s()]+?):\d+:\d+\)?$",
    re.MULTILINE,
)
_TAP_NAME = re.compile(r"^[ \t]+name: '(?P<error>\w+)'$", re.MULTILINE)
_TAP_ERROR = re.compile(
    r"^[ \t]+error: (?:\|-\n(?P<block>(?:.*\n){1,40}?)[ \t]+code:"
    r"|(?P<quote>['\"])(?P<line>.*)(?P=quote)$)",
    re.MULTILINE,
)


def _node(text: str, roots: Sequence[str]) -> Raised | None:
    tap = _TAP_NAME.search(text)
    if tap is not None:
        told = _TAP_ERROR.search(text[: tap.end()])
        message = " ".join((told["block"] or told["line"] or "").split()) if told else ""
        stack = text[tap.end() :].partition("...")[0]
        return Raised(tap["error"], message, _node_frames(stack.splitlines(), roots))
    error = _NODE_ERROR.search(text)
    if error is None:
        return None
    frames = _node_frames(text[error.end() :].splitlines()[:60], roots)
    return Raised(error["error"], error["message"], frames)


def _node_frames(lines: Iterable[str], roots: Sequence[str]) -> tuple[Frame, ...]:
    """Node prints the innermost first."""
    found: list[Frame] = []
    for line in lines:
        match = _NODE_FRAME.match(line)
        path = in_repository(match["path"].removeprefix("file://"), roots) if match else None
        if match is not None and path is not None:
            name = (match["function"] or "").removeprefix("new ").replace("Object.", "")
            found.append(Frame(path, "" if "<anonymous>" in name else name.strip()))
    return tuple(reversed(found))


_GO_PANIC = re.compile(
    r"^(?P<error>panic|fatal error): (?P<message>.*?)(?: \[recovered.*)?$", re.MULTILINE
)
_GO_FRAME = re.compile(
    r"^(?P<function>[\w./*()-]+)\(.*\)\n\t(?P<path>[^\s:]+\.go):\d+", re.MULTILINE
)
_GO_FAIL = re.compile(r"^[ \t]*(?P<path>[\w./-]+\.go):\d+(?::\d+)?: (?P<message>.*)$", re.MULTILINE)
_GO_TEST = re.compile(r"^[ \t]*--- FAIL: (?P<test>\S+)", re.MULTILINE)


def _go(text: str, roots: Sequence[str]) -> Raised | None:
    panic = _GO_PANIC.search(text)
    if panic is not None:
        inner = [
            Frame(path, match["function"].rpartition("/")[2].partition(".")[2])
            for match in _GO_FRAME.finditer(text[panic.end() :])
            if (path := in_repository(match["path"], roots)) is not None
        ]
        return Raised(panic["error"], panic["message"], tuple(reversed(inner)))
    failed = _GO_FAIL.search(text)
    if failed is None:
        return None
    path = in_repository(failed["path"], roots)
    test = _GO_TEST.search(text)
    frames = (Frame(path, test["test"] if test else ""),) if path is not None else ()
    return Raised("test failure" if test else "build failed", failed["message"], frames)
