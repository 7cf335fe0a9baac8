"""What an acceptance command names, and so which paths no attempt may change.

A patch is hostile: whoever may edit the exam, or a file that the test runner loads by itself,
decides what "passed" means. `conftest.py` is the best known of those files.
"""

import re
import shlex
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from posixpath import basename, normpath

from orchestrator.values import Feature, FeatureList

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

#: Files a program reads without being told their name.
_IMPLIED = {
    "make": ("./Makefile", "./makefile", "./GNUmakefile"),
    "just": ("./justfile", "./Justfile"),
    # Scripts stand beside the dependencies; a feature that adds one names the file in its scope.
    "npm": ("package.json",),
    "npx": ("package.json",),
    "yarn": ("package.json",),
    "pnpm": ("package.json",),
    "bun": ("package.json",),
    "cargo": ("Cargo.toml", "build.rs", ".cargo/**"),
    "go": ("go.mod", "go.work"),
    "gradle": ("*.gradle", "*.gradle.kts", "gradle.properties"),
    "gradlew": ("gradlew", "*.gradle", "*.gradle.kts", "gradle.properties", "gradle/wrapper/**"),
    "mvn": ("pom.xml", ".mvn/**"),
    "mvnw": ("mvnw", "pom.xml", ".mvn/**"),
    "rake": ("Rakefile", "rakefile", "Rakefile.rb", "*.rake"),
}
_CHECK_MODULE = re.compile(r"(?:^|[_.])(?:self_?)?(?:tests?|checks?|checker|verify)(?:$|[_.])")
_SHELLS = {"sh", "bash", "dash", "zsh", "eval"}
#: A script that makes or a shell may call in turn, judged by its name alone.
_TEST_SCRIPT = re.compile(
    r"(?:^|.*[_.-])(?:self[_-]?)?tests?(?:[_-][\w-]*)?(?:\.(?:sh|bash|py|mk|js|mjs|pl|rb))?$"
)
_ENDINGS = re.compile(
    r"\.(py|pyi|sh|bash|js|cjs|mjs|ts|cts|mts|jsx|tsx|rb|rs|go|java|kt|php|pl|lua|ex|exs|swift|c|cc"
    r"|cpp|h|hpp|cs|bats|robot|feature|sql|json|jsonl|ya?ml|toml|ini|cfg|conf|xml|csv|txt|md|rst"
    r"|html|ipynb|mk|t)$"
)
_PATH = re.compile(r"[\w@+%,.~ /*?\[\]{}-]+")
_TEST_FILE = re.compile(
    r"^(test[_.-].*|.*[_.-](test|spec)\..*|tests?\..*|.*_spec\.rb|.*Test\.java)$"
)
_SEPARATOR = re.compile(r"[;&|()\n]+")


@lru_cache(maxsize=16_384)
def files_named(command: str, folders: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Path-like words of a shell command, relative to the root of the repo, each once.

    `pytest tests/test_a.py::test_x -q` names `tests/test_a.py`. A folder, a file without a known
    ending or a glob counts when it holds a `/` or is one of the known `folders`. Left out:
    options, addresses, absolute paths, paths that climb out, and where output is redirected to.
    """
    return tuple(dict.fromkeys(_paths(command, folders, 0)))


@lru_cache(maxsize=8)
def folders_of(files: frozenset[str]) -> frozenset[str]:
    """Every folder that holds one of the files, at any depth."""
    found: set[str] = set()
    for path in files:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return frozenset(found)


def files_implied(command: str) -> tuple[str, ...]:
    """Globs of files that the command's programs read unasked, such as `make` its Makefile."""
    programs = _programs(command)
    return tuple(glob for name, globs in _IMPLIED.items() if name in programs for glob in globs)


def _programs(command: str) -> set[str]:
    return {basename(word) for part in _words(command) for word in part.split()}


def _scripts(command: str, existing_files: Collection[str]) -> list[str]:
    """Test scripts that a command may call through another program, as `make test` does."""
    if not _programs(command) & {*_IMPLIED, *_SHELLS}:
        return []
    return sorted(f for f in existing_files if _TEST_SCRIPT.match(basename(f)))


def _modules(command: str, existing_files: Collection[str]) -> Iterable[str]:
    """Files of `python -m shop.selftest`, where they exist and are checks by their name."""
    for name in re.findall(r"-m\s+([A-Za-z_][\w.]*)", command):
        path = name.replace(".", "/")
        if _CHECK_MODULE.search(name):
            found = (f"{path}.py", f"{path}/__init__.py", f"{path}/__main__.py")
            yield from (f for f in found if f in existing_files)


def protected_globs(
    feature_list: FeatureList,
    feature: Feature | None = None,
    *,
    existing_files: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """Globs of what an attempt at `feature` must not change.

    Always the files that any feature's acceptance commands name, and the test files among
    `existing_files` (of the base) in folders they name; beside them `project.protected`, which
    takes the place of `STANDARD`. A file that the feature's `scope` names letter by letter is
    its to write, whoever runs it as a check.
    """
    commands = [c for f in feature_list.features for c in f.acceptance]
    folders = folders_of(existing_files)
    named = [path for c in commands for path in files_named(c, folders)]
    exams = [
        *named,
        *_tests_below(named, existing_files),
        *(g for c in commands for g in files_implied(c)),
        *(m for c in commands for m in _modules(c, existing_files)),
        *(s for c in commands for s in _scripts(c, existing_files)),
    ]
    own = {normpath(glob) for glob in feature.scope} if feature else set()
    exams = [_anchored(glob) for glob in exams if normpath(glob) not in own]
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


def _anchored(path: str) -> str:
    """`check.py` named by a command is the one at the root, not one at any depth."""
    return path if "/" in path else f"./{path}"


def _tests_below(named: Collection[str], existing_files: Collection[str]) -> list[str]:
    folders = tuple(f"{normpath(name)}/" for name in named if not _ENDINGS.search(name))
    if not folders:
        return []
    return sorted(
        f for f in existing_files if f.startswith(folders) and _TEST_FILE.match(basename(f))
    )


# ------------------------------------------------------------------ reading commands


def _words(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # a quote that is never closed: read on as well as we can
        return command.split()


def _paths(command: str, folders: frozenset[str], depth: int) -> Iterable[str]:
    program, before, folder = "", "", ""
    for word in _words(command):
        if _SEPARATOR.fullmatch(word):
            program = ""
        elif before.startswith(">") or before == "&>":
            pass  # written to, not read
        elif program == "cd":
            folder = word
        elif not program and not re.match(r"\w+=", word):
            program = basename(word)
            yield from _path(word, folder, folders)
        elif program in _SHELLS and re.search(r"\s", word) and depth < 3:
            # `bash -c "pytest tests/x.py"`; three deep is more than anyone quotes
            inner = f"cd {shlex.quote(folder)}; {word}" if folder else word
            yield from _paths(inner, folders, depth + 1)
        else:
            yield from _path(word, folder, folders)
        before = word


def _path(word: str, folder: str, folders: frozenset[str]) -> Iterable[str]:
    """The word as a path, if it looks like one: zero or one."""
    if word.startswith("-"):
        word = word.partition("=")[2]
    word = word.partition("::")[0]
    if "://" in word or not _PATH.fullmatch(word) or word.startswith(("/", "~")):
        return
    path = normpath(f"{folder}/{word}" if folder else word)
    if "/" not in word and not _ENDINGS.search(word) and path not in folders:
        return
    if not path.startswith(("..", "/")) and path != ".":
        yield path


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
