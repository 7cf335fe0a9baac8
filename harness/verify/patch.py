"""Reads a patch without applying it: paths, added lines, and what must never be applied.

Everything here is hostile text. `git apply` itself refuses `.git`, absolute and climbing paths;
they are refused here too, so that the reason is ours and does not depend on git's version.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from harness.verify.commands import is_test_module

MAX_PATCH = 20_000_000  # bytes: far above any honest feature
MAX_BINARY = 10_000_000  # bytes after inflation, all binary files together

_OLD_NAME = re.compile(rb"^(?:rename|copy) (?:from|old) (.*)$", re.MULTILINE)
_LITERAL = re.compile(rb"^(?:literal|delta) (\d+)", re.MULTILINE)
_MODE = re.compile(
    rb"^(?:new file mode|new mode|index [0-9a-f.]+)[\s+]*([0-7]{5,})\s*$", re.MULTILINE
)
_HUNK = re.compile(rb"^@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f"}

#: Shapes of secrets. Only shapes with a fixed prefix: a guess by entropy would refuse honest work.
_SECRETS = (
    ("a private key", re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("an AWS access key", re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("an Anthropic key", re.compile(rb"\bsk-ant-[A-Za-z0-9_-]{20,}")),
    ("a GitHub token", re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40,})")),
    ("a Slack token", re.compile(rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}")),
)


@dataclass(frozen=True, slots=True)
class PatchText:
    """What the text of a patch says. `added`: new line numbers by path, for measuring only;
    `sources`: what renames and copies take their content from; `modes`: file modes it sets.
    """

    sources: tuple[str, ...] = ()
    modes: frozenset[int] = frozenset()
    added: Mapping[str, frozenset[int]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def added_lines(self) -> int:
        return sum(len(lines) for lines in self.added.values())


def read_patch(patch: bytes) -> PatchText:
    """Never raises: what cannot be understood is left to `git apply`, which then refuses it."""
    if len(patch) > MAX_PATCH:
        return PatchText(problems=(f"the patch is larger than {MAX_PATCH // 1_000_000} MB",))
    modes = frozenset(int(m, 8) for m in _MODE.findall(patch))
    problems = []
    if sum(int(n[:12]) for n in _LITERAL.findall(patch)) > MAX_BINARY:
        problems.append(f"its binary files are larger than {MAX_BINARY // 1_000_000} MB")
    if 0o160000 in modes:
        problems.append("adds a git submodule")
    added: dict[str, set[int]] = {}
    secrets: set[str] = set()
    for path, number, line in _added(patch):
        added.setdefault(path, set()).add(number)
        secrets.update(name for name, shape in _SECRETS if shape.search(line))
    problems.extend(f"adds what looks like {name}" for name in sorted(secrets))
    return PatchText(
        sources=tuple(unquote(name) for name in _OLD_NAME.findall(patch)),
        modes=modes,
        added={path: frozenset(lines) for path, lines in added.items()},
        problems=tuple(problems),
    )


def _added(patch: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Path, new line number and content of every added line."""
    path, number, old, new = "", 0, 0, 0
    for line in patch.split(b"\n"):
        if old > 0 or new > 0:
            if line[:1] == b"+":
                yield path, number, line[1:]
            old -= line[:1] in {b"-", b" ", b""}
            fresh = line[:1] in {b"+", b" ", b""}
            new -= fresh
            number += fresh
        elif line.startswith(b"+++ "):
            path = unquote(line[4:]).removeprefix("b/")
        elif match := _HUNK.match(line):
            old = int((match[1] or b"1")[:9])
            number, new = int(match[2][:9]), int((match[3] or b"1")[:9])


def unquote(name: bytes) -> str:
    """A path as git writes it, C-quoted where needed; bytes that are not UTF-8 are kept apart."""
    name = name.rstrip(b"\r\n\t")
    if len(name) >= 2 and name[:1] == b'"' == name[-1:]:
        name = _ESCAPE.sub(_letter, name[1:-1])
    return name.decode("utf-8", "surrogateescape")


def _letter(match: re.Match[bytes]) -> bytes:
    what = match[1]
    return bytes([int(what, 8) & 255]) if what[:1].isdigit() else _LETTERS.get(what, what)


def unsafe_path(path: str) -> str | None:
    """Why a patch may not touch `path`, or None."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\0" in path:
        return f"writes an absolute or empty path: {shown(path)}"
    if ".." in parts:
        return f"writes outside the repository: {shown(path)}"
    if any(p.lower().rstrip(" .") in {".git", "git~1"} for p in parts):
        return f"writes into the git directory: {shown(path)}"
    if "__pycache__" in parts or parts[-1].lower().endswith((".pyc", ".pyo")):
        # Python and pytest run such a file in the place of a source that it names, such as the
        # exam's, when size and time fit; an attempt knows both.
        return f"writes compiled Python, which could stand in for other files: {shown(path)}"
    return None


def shadows_standard_library(path: str) -> str | None:
    """Why a new file outside of any package may not have this name, or None: at the root, in a
    root of imports or beside tests it would be imported in the place of Python's own, by the exam
    and its tools too."""
    pure = PurePosixPath(path)
    if pure.suffix != ".py":
        return None
    module = pure.parent if pure.name == "__init__.py" else pure.with_suffix("")
    folder = module.parent
    reached = folder.as_posix() in {".", "src", "lib"} or any(
        part in {"test", "tests", "check", "checks", "spec", "exam"} for part in folder.parts
    )
    if reached and module.name in sys.stdlib_module_names:
        return f"adds a module that hides Python's own {module.name}: {shown(path)}"
    return None


def stand_ins(touched: Iterable[str], guarded: Callable[[str], bool]) -> tuple[str, ...]:
    """Why files may not have these names: they would be imported in the place of a file beside
    them that is guarded. A package comes before a module, a compiled module before a source."""
    found = []
    for path in touched:
        pure = PurePosixPath(path)
        module, _, kind = pure.name.partition(".")
        hidden = []
        if module == "__init__" and kind:
            hidden.append(f"{pure.parent}.py")
        if pure.suffix in {".so", ".pyd"}:
            hidden.append((pure.parent / f"{module}.py").as_posix())
        found += [
            f"would be imported in the place of {shown(name)}: {shown(path)}"
            for name in hidden
            if guarded(name)
        ]
    return tuple(found)


def nearer(fresh: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Why new files outside of any package may not have these names: tests in their folder would
    import them in the place of a test's support of that name in a folder above."""
    found = []
    for path in fresh:
        pure = PurePosixPath(path)
        own = pure.parent if pure.name == "__init__.py" else pure
        above = [(folder / f"{own.stem}.py").as_posix() for folder in own.parent.parents]
        found += [
            f"would be imported in the place of {shown(name)}: {shown(path)}"
            for name in above
            if pure.suffix == ".py" and name in known and not is_test_module(name)
        ]
    return tuple(found)


def escaping_link(path: str, target: str) -> bool:
    """Whether a symbolic link at `path` (relative to the root) points outside the repository."""
    if target.startswith("/"):
        return True
    depth = len(PurePosixPath(path).parts) - 1
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def shown(text: str, limit: int = 300) -> str:
    """Hostile text made fit for a log or a terminal: one line, no control characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])
    return clean + ("..." if len(text) > limit else "")
