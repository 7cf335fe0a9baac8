"""What a string in a feature list may be: one function per kind, which returns it or says why not.

Each raises `ValueError` with a finished phrase: what is wrong, and after `;` what to do.
Why so strict: ids become folder names and git trailers, branches and globs become arguments of
git, and commands go to a shell.
"""

import re
from collections.abc import Mapping

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

#: Linux passes at most 128 KiB as one argument, so a longer command could never run.
TEXT_LIMIT = 100_000

#: `git check-ref-format` refuses each of these anywhere in a branch name.
_NOT_IN_REF = (" ", "~", "^", ":", "?", "*", "[", "\\", "..", "//", "@{")


def shown(value: object, limit: int = 60) -> str:
    """A string for a message, quoted and `bounded`."""
    return f'"{bounded(str(value), limit)}"'


def bounded(words: str, limit: int = 60) -> str:
    """One line of at most about `limit` characters with nothing unprintable in it."""
    clean = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words[:limit])
    return clean if len(words) <= limit else clean + "..."


def _refuse_control(value: str, allowed: str = "") -> None:
    for char in value:
        if (ord(char) < 32 or 127 <= ord(char) < 160) and char not in allowed:
            raise ValueError(f"has the control character {char!a}; remove it")


def text(value: str) -> str:
    """Words for people and models: several lines are fine, nothing but blanks is not."""
    if not value.strip():
        raise ValueError("is empty; write something or leave it out")
    _refuse_control(value, "\n\t\r")
    return value


def name(value: str) -> str:
    """One line of words."""
    if not value.strip():
        raise ValueError("is empty; write something or leave it out")
    _refuse_control(value)
    return value


def command(value: str) -> str:
    """A shell command; a carriage return would become part of its last word."""
    if not value.strip():
        raise ValueError("is empty; write a shell command or leave it out")
    _refuse_control(value, "\n\t")
    return value


#: A feature's folder stands beside `events.jsonl`, `run.json`, `engine.sqlite`, `report.md`, ...
_FILE_ENDINGS = (".jsonl", ".json", ".sqlite", ".md", ".log", ".torn", "-wal", "-shm")


def identifier(value: str) -> str:
    """A name fit for a folder, a git trailer and the command line."""
    if not re.fullmatch(ID_PATTERN.strip("^$"), value):
        raise ValueError(
            f"{shown(value)} is not a usable id; start with a letter or digit, go on with letters,"
            " digits, . _ - and stop at 64 characters"
        )
    if value.endswith((".", ".lock")) or ".." in value:
        raise ValueError(
            f"{shown(value)} is not a usable id; it must not hold .. nor end with . or .lock"
        )
    if value.lower().endswith(_FILE_ENDINGS):
        raise ValueError(
            f"{shown(value)} is not a usable id; it would stand in the way of a run's own files:"
            f" let it not end with {', '.join(_FILE_ENDINGS)}"
        )
    return value


def branch(value: str) -> str:
    """A name that `git check-ref-format --branch` accepts."""
    name(value)
    bad = next((part for part in _NOT_IN_REF if part in value), None)
    if bad is not None:
        raise ValueError(f"{shown(value)} holds {shown(bad)}, which git refuses; remove it")
    if value in {"@", "HEAD"} or value.startswith(("-", "/")) or value.endswith(("/", ".")):
        raise ValueError(
            f"{shown(value)} is not a branch name to git; it must not be @ or HEAD, start with -"
            " or /, or end with / or ."
        )
    if any(part.startswith(".") or part.endswith(".lock") for part in value.split("/")):
        raise ValueError(
            f"{shown(value)} has a part that starts with . or ends with .lock; git refuses both,"
            " rename it"
        )
    if len(value.encode()) > 200:  # a ref is a file name; leave room for .lock below 255
        raise ValueError("is longer than 200 bytes; shorten it")
    return value


def revision(value: str) -> str:
    """One commit: a branch, tag, hash or `main~2`; never an option, a range or a path."""
    name(value)
    if value.startswith("-"):
        raise ValueError(f"{shown(value)} starts with -, which git takes for an option; rename it")
    bad = next((p for p in ("..", ":", " ", "?", "*", "[", "\\") if p in value), None)
    if bad is not None:
        raise ValueError(
            f"{shown(value)} holds {shown(bad)}; name one branch, tag or commit, such as main"
        )
    return value


def folder(value: str) -> str:
    """A path on this machine, relative to the workspace unless absolute."""
    name(value)
    if value.startswith("-"):
        raise ValueError(f"{shown(value)} starts with -; write {shown('./' + value)}")
    if "://" in value or re.match(r"^[\w.-]+@[\w.-]+:", value):
        raise ValueError(f"{shown(value)} is an address, not a folder; clone it and give its path")
    return value


def glob(value: str) -> str:
    """A pattern of paths below the root of the repo."""
    name(value)
    if value.startswith(("/", "~")) or re.match(r"^[A-Za-z]:", value):
        raise ValueError(
            f"{shown(value)} is absolute; write it from the root of the repo, such as src/**"
        )
    if ".." in value.split("/"):
        raise ValueError(f"{shown(value)} climbs out with ..; stay below the root of the repo")
    if "\\" in value or value.startswith("!"):
        raise ValueError(
            f"{shown(value)}: no \\ and no leading ! in a glob; use / and list what is meant"
        )
    return value


def environment(value: Mapping[str, str]) -> Mapping[str, str]:
    """Names a shell can set, values without NUL."""
    for key, content in value.items():
        if not re.fullmatch(ENV_PATTERN.strip("^$"), key):
            raise ValueError(
                f"{shown(key)} cannot name a variable; use letters, digits and _, no digit first"
            )
        if "\0" in content:
            raise ValueError(f"{key} holds a NUL character; remove it")
    return value


def slug(category: str) -> str:
    """The category as the front part of an id: lower case, anything else becomes `-`."""
    clean = re.sub(r"[^a-z0-9]+", "-", category.lower()).strip("-")[:50].strip("-")
    return clean or "feature"
