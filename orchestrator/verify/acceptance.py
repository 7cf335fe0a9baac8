"""What an acceptance command names, and so which paths no attempt may change.

A patch is hostile: whoever may edit the exam, or a file that the test runner loads by itself,
decides what "passed" means. `conftest.py` is the best known of those files.
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from posixpath import normpath
from types import MappingProxyType

from orchestrator.values import Feature, FeatureList
from orchestrator.verify.exams import exam_globs

#: Protected unless `project.protected` says otherwise: what test runners, the interpreter at
#: its start, git and CI read without being told to. `pyproject.toml` stays editable because
#: features add dependencies there; its pytest section gives way to a `pytest.ini`.
STANDARD: tuple[str, ...] = (
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "setup.cfg",
    ".coveragerc",
    "noxfile.py",
    "jest.config.*",
    "vitest.config.*",
    "*.pth",
    "sitecustomize.*",
    "usercustomize.*",
    # Read for plugins: what is written here is loaded by pytest at its start.
    "**/*.dist-info/**",
    "**/*.egg-info/**",
    "**/sitecustomize/**",
    "**/usercustomize/**",
    # At the root these would be imported in place of the test runner itself.
    "./pytest.py",
    "./pytest/**",
    "./_pytest/**",
    "./pluggy/**",
    "./pluggy.py",
    "./coverage.py",
    "./coverage/__init__.py",  # not the folder: JavaScript tools leave their reports there
    "./coverage/__main__.py",
    "./unittest.py",
    "./unittest/**",
    ".github/**",
    ".gitlab-ci.yml",
    ".ci/**",
    ".gitattributes",
    ".gitmodules",
)

_NONE: Mapping[str, str] = MappingProxyType({})


def protected_globs(
    feature_list: FeatureList,
    feature: Feature | None = None,
    *,
    existing_files: frozenset[str] = frozenset(),
    texts: Mapping[str, str] = _NONE,
) -> tuple[str, ...]:
    """Globs of what an attempt at `feature` must not change.

    Always the files that any feature's acceptance commands name, and the test files among
    `existing_files` (of the base) in folders they name, and what the `texts` of some of these
    files (`exams.unread` asks for them) run and read in turn; beside them `project.protected`,
    which takes the place of `STANDARD`. A file that the feature's `scope` names letter by letter is
    its to write, whoever runs it as a check.
    """
    commands = [c for f in feature_list.features for c in f.acceptance]
    scope = feature.scope if feature else ()

    def own(path: str) -> bool:
        return any(matches(path, glob) for glob in scope)

    named = own if scope else None
    exams = [g for c in commands for g in exam_globs(c, existing_files, texts, named)]
    letters = {normpath(glob) for glob in scope}
    exams = [_anchored(glob) for glob in exams if normpath(glob) not in letters]
    given = feature_list.project.protected
    return tuple(dict.fromkeys([*exams, *(STANDARD if given is None else given)]))


def is_protected(path: str, globs: Iterable[str]) -> bool:
    """Whether a changed file's path (from the root of the repo, with `/`) falls under a glob.

    `*`, `?` and `[...]` stay within a folder, `**` spans folders; a glob without `/` matches at
    any depth, `./x` only at the root; case counts. A path that is absolute or climbs out is
    protected, and so is a file or link put where a glob has a folder.
    """
    clean = normpath(path)
    if path.startswith("/") or clean in {"..", "."} or clean.startswith("../") or not path:
        return True
    parts = tuple(clean.split("/"))
    return any(_matches(parts, _pattern(glob)) or _shadows(parts, _pattern(glob)) for glob in globs)


def matches(path: str, glob: str) -> bool:
    """Whether a normal path falls under a glob, by the rules of `is_protected`."""
    return _matches(tuple(path.split("/")), _pattern(glob))


def may_meet(one: str, other: str) -> bool:
    """Whether some path may fall under both globs. A `[...]` counts as any character: where it
    cannot be told, they meet."""
    return _meet(_pattern(one), _pattern(other))


@lru_cache(maxsize=4096)
def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Folder by folder; a `**` of either takes any number of the other's."""
    if not one or not other:
        return all(part == "**" for part in (*one, *other))
    if one[0] == "**":
        return _meet(one[1:], other) or _meet(one, other[1:])
    if other[0] == "**":
        return _meet(one, other[1:]) or _meet(one[1:], other)
    return _names_meet(one[0], other[0]) and _meet(one[1:], other[1:])


@lru_cache(maxsize=4096)
def _names_meet(one: str, other: str) -> bool:
    one, other = (re.sub(r"\[!?\]?[^\]]*\]", "?", name) for name in (one, other))
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _names_meet(one[1:], other) or _names_meet(one, other[1:])
    if other[0] == "*":
        return _names_meet(one, other[1:]) or _names_meet(one[1:], other)
    alike = one[0] == other[0] or "?" in {one[0], other[0]}
    return alike and _names_meet(one[1:], other[1:])


def _anchored(path: str) -> str:
    """`check.py` named by a command is the one at the root, not one at any depth."""
    return path if "/" in path else f"./{path}"


# ------------------------------------------------------------------ matching globs


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> tuple[str, ...]:
    """The glob by folders; one without `/` gets a `**` in front."""
    parts = tuple(p for p in glob.split("/") if p not in {"", "."})
    front = () if "/" in glob.rstrip("/") else ("**",)
    back = ("**",) if glob.endswith("/") else ()
    return (*front, *parts, *back)


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Folder by folder; on a mismatch the latest `**` takes one folder more. A closing `**`
    stands for whatever is below, and for the folder itself."""
    at = here = 0
    again: tuple[int, int] | None = None
    while at < len(parts):
        if here < len(pattern) and pattern[here] == "**":
            again = (at, here)
            here += 1
        elif here < len(pattern) and fnmatchcase(parts[at], pattern[here]):
            at, here = at + 1, here + 1
        elif again:
            at, here = again[0] + 1, again[1] + 1
            again = (at, again[1])
        else:
            return False
    return all(part == "**" for part in pattern[here:])


def _shadows(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a file of this path would stand where the pattern has a folder."""
    return len(parts) < len(pattern) and all(
        want != "**" and fnmatchcase(part, want) for part, want in zip(parts, pattern, strict=False)
    )
