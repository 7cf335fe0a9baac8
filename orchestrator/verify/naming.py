"""Reads shell commands for the files they name, and for those their programs read unasked."""

import re
import shlex
from collections.abc import Iterable
from functools import lru_cache
from posixpath import basename, normpath

_MAKEFILES = ("Makefile", "makefile", "GNUmakefile")
#: Files a program reads without being told their name.
_IMPLIED = {
    "make": _MAKEFILES,
    "just": ("./justfile", "./Justfile"),
    # Scripts stand beside the dependencies; a feature that adds one names the file in its scope.
    "npm": ("package.json", ".npmrc"),
    "npx": ("package.json", ".npmrc"),
    "prove": (".proverc",),
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

_SHELLS = {"sh", "bash", "dash", "zsh", "eval"}
_ENDINGS = re.compile(
    r"\.(py|pyi|sh|bash|js|cjs|mjs|ts|cts|mts|jsx|tsx|rb|rs|go|java|kt|php|pl|lua|ex|exs|swift|c|cc"
    r"|cpp|h|hpp|cs|bats|robot|feature|sql|json|jsonl|ya?ml|toml|ini|cfg|conf|xml|csv|txt|md|rst"
    r"|html|ipynb|mk|t)$"
)
_PATH = re.compile(r"[\w@+%,.~ /*?\[\]{}-]+")
#: What stands for the folder a command or script runs in.
_HERE = re.compile(r"""\$PWD|\$\{PWD\}|\$\(pwd\)|`pwd`|"\$PWD"|"\$\(pwd\)\"""")
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
    programs = programs_of(command)
    found = [glob for name, globs in _IMPLIED.items() if name in programs for glob in globs]
    if "make" in programs:
        moved = re.findall(r"(?:\bcd|-C|--directory)[ =]+([\w./-]+)", command)
        found += [normpath(f"{folder}/{name}") for folder in moved for name in _MAKEFILES]
    return tuple(dict.fromkeys(found))


def programs_of(command: str) -> frozenset[str]:
    """Every word of the command, as it would name a program."""
    return frozenset(basename(word) for part in _words(command) for word in part.split())


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
    for word in _words(_HERE.sub(".", command)):
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
