"""Recognises test commands: pytest or unittest, what they select, what looks like a test file."""

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

_PYTHON = re.compile(r"(?:.*/)?python[0-9.]*$")
_PYTEST = re.compile(r"(?:.*/)?(?:pytest|py\.test)$")
_MODULES = {"pytest": "pytest", "py.test": "pytest", "unittest": "unittest"}
_ASSIGNED = re.compile(r"^[A-Za-z_]\w*=")
#: A word the shell would expand cannot be taken apart and put together again.
_EXPANDED = re.compile(r"[$`*?~\[{]")
#: How tests are named where they lie beside what they test, in other languages.
_OTHERS = re.compile(r"\.(?:spec|test)\.[cm]?[jt]sx?$|_test\.go$|_spec\.rb$|\.t$")
#: Options after which the static reading of a test file no longer says what will run.
_FILTERS = ("-k", "-m", "--deselect", "--ignore", "--lf", "--last-failed", "--ff", "--sw")

_PLAIN = "python -m pytest -q"
_JOINTS = frozenset({"&&", "||", ";", "|", "&", "(", ")", ">", "<"})


@dataclass(frozen=True, slots=True)
class TestCommand:
    """A shell line that runs `tool`, pytest or unittest, once.

    `strict`: its exit status is the tool's own. `filtered`: options choose tests by more than
    their place. `chosen`: the node ids it names. `places`: all its arguments that are no options.
    `moves`: it changes the folder first. `hidden`: tests may run anywhere within the line, in any
    number of processes; whether they do is seen by running it on a base.
    """

    __test__ = False  # pytest would take it for a test class

    tool: str
    line: str
    strict: bool
    filtered: bool
    chosen: tuple[str, ...]
    places: tuple[str, ...]
    moves: bool
    hidden: bool = False


def read_command(line: str) -> tuple[TestCommand, ...]:
    """The test runs that make up `line`, empty when it is anything else.

    `a && b` of two test runs is two; one run amid other commands is one, not strict unless
    it is last and joined by `&&` alone.
    """
    tokens = _tokens(line)
    if tokens is None:
        return ()
    segments, joints = tokens
    runs = [i for i, words in enumerate(segments) if _run(words) is not None]
    if len(runs) == 1:
        strict = runs[0] == len(segments) - 1 and set(joints) <= {"&&"}
        return (_command(line, segments[runs[0]], strict=strict, moves=len(segments) > 1),)
    plain = not any(_EXPANDED.search(w) for words in segments for w in words)
    if runs and len(runs) == len(segments) and set(joints) == {"&&"} and plain:
        return tuple(_command(_joined(w), w, strict=True, moves=False) for w in segments)
    return ()


def runner(line: str | None, known: Collection[str]) -> str:
    """How a project runs pytest, as a shell line to which the files to run are added: its test
    command `line` without the places that it names, which are or hold files among `known`.

    Plain pytest where that cannot be told, or where it would leave out tests of the caller's.
    """
    words = shlex.split(line) if line and read_command(line) and not _EXPANDED.search(line) else []
    tool, arguments = _run(words) or ("", [])
    # More words than one command has: it is followed or led by others.
    if tool != "pytest" or any(a.startswith(_FILTERS) or a in _JOINTS for a in arguments):
        return _PLAIN
    head = words[: len(words) - len(arguments)]
    return _joined([*head, *(a for a in arguments if not (_ends(a) or _is_place(a, known)))])


def _ends(option: str) -> bool:
    """Whether it ends the run at the first failure, of which one is planted."""
    return option in {"-x", "--exitfirst"} or option.startswith("--maxfail")


def _is_place(word: str, known: Collection[str]) -> bool:
    path = word.partition("::")[0].removeprefix("./").rstrip("/")
    return path == "." or any(file == path or file.startswith(f"{path}/") for file in known)


def hidden_command(line: str) -> TestCommand:
    """Any line, with the tool that may run somewhere within it: what its own text calls, or what
    a script or Makefile calls, which is pytest in nearly all projects."""
    unittest = " -m unittest" in line and "pytest" not in line
    return TestCommand(
        tool="unittest" if unittest else "pytest",
        line=line,
        strict=False,
        filtered=bool(re.search(r"\s-(k|m(?!\s+(pytest|unittest|coverage)\b))\b", line)),
        chosen=(),
        places=(),
        moves=True,
        hidden=True,
    )


def _tokens(line: str) -> tuple[list[list[str]], list[str]] | None:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    segments: list[list[str]] = [[]]
    joints: list[str] = []
    try:
        for word in lexer:
            if re.fullmatch(r"[;&|()\n]+", word):
                joints.append(word)
                segments.append([])
            else:
                segments[-1].append(word)
    except ValueError:
        return None
    return segments, joints


def _run(words: list[str]) -> tuple[str, list[str]] | None:
    """The tool and the arguments given to it, None when `words` run neither."""
    rest = list(words)
    while rest and (_ASSIGNED.match(rest[0]) or rest[0] == "env"):
        rest.pop(0)
    if rest and _PYTEST.match(rest[0]):
        return "pytest", rest[1:]
    if not rest or not _PYTHON.match(rest[0]) or "-m" not in rest:
        return None
    at = rest.index("-m")
    flags = rest[1:at]
    # -I and -E make it blind to the environment through which the report is asked for.
    isolated = any(re.match(r"-[A-Za-z]*[IE]", f) for f in flags)
    named = _MODULES.get("".join(rest[at + 1 : at + 2]))
    return (named, rest[at + 2 :]) if named and not isolated else None


def _command(line: str, words: list[str], *, strict: bool, moves: bool) -> TestCommand:
    tool, arguments = _run(words) or ("pytest", [])
    places = tuple(a for a in arguments if not a.startswith("-"))
    if tool == "unittest":
        chosen = places = () if "discover" in places else places
    else:
        chosen = tuple(a for a in places if "::" in a)
    return TestCommand(
        tool=tool,
        line=line,
        strict=strict,
        filtered=any(a.startswith(_FILTERS) for a in arguments),
        chosen=chosen,
        places=places,
        moves=moves,
    )


def _joined(words: list[str]) -> str:
    """Assignments in front stay unquoted, else the shell would take them for a program."""
    return " ".join(
        f"{w.partition('=')[0]}={shlex.quote(w.partition('=')[2])}"
        if _ASSIGNED.match(w)
        else shlex.quote(w)
        for w in words
    )


def is_test_file(path: str) -> bool:
    """Whether `path` belongs to a project's tests, in any usual language, and not its product."""
    pure = PurePosixPath(path)
    if any(part in {"test", "tests", "__tests__"} for part in pure.parts[:-1]):
        return True
    name = pure.name
    return name == "conftest.py" or is_test_module(path) or bool(_OTHERS.search(name))


def is_test_module(path: str) -> bool:
    """Whether pytest would look for tests in it by its default settings."""
    name = PurePosixPath(path).name
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))
