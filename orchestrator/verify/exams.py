"""What an exam consists of beside the files its command names: what it runs, reads and includes."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from posixpath import basename, dirname, normpath

from orchestrator.verify.manifests import is_manifest
from orchestrator.verify.naming import files_implied, files_named, folders_of, programs_of

#: How often a script that names a script is followed.
DEPTH = 3
#: Folders of nothing but exams, by their name alone.
_FOLDERS = re.compile(
    r"^(checks?|exams?|tests?|testing|specs?|t|acceptance|e2e|verif(?:y|ication)|qa|goldens?|expected)$"
)
_CHECK_MODULE = re.compile(
    r"(?:^|[_.])(?:self_?)?(?:tests?|checks?|checker|verify|exams?|specs?|acceptance)(?:$|[_.])"
)
#: A script that makes or a shell may call in turn, judged by its name alone.
_TEST_SCRIPT = re.compile(
    r"(?:^|.*[_.-])(?:self[_-]?)?tests?(?:[_-][\w-]*)?(?:\.(?:sh|bash|py|mk|js|mjs|pl|rb))?$"
)
_TEST_FILE = re.compile(
    r"^(test[_.-].*|.*[_.-](test|spec)\..*|tests?\..*|.*_spec\.rb|.*Test\.java|.*\.t)$"
)
_EXAM_WORDS = (
    "test", "spec", "accept", "check", "exam", "verif", "qa", "golden", "expected", "e2e",
    "selftest", "judge", "grade", "fixture",
)  # fmt: skip
_SHELLS = {"sh", "bash", "dash", "zsh", "eval"}
#: Programs that call others by what a file of theirs says.
_CALLERS = {*_SHELLS, "make", "just", "npm", "npx", "yarn", "pnpm", "bun", "rake", "go", "cargo",
            "gradle", "gradlew", "mvn", "mvnw"}  # fmt: skip
#: Runners that look for tests by themselves: further ones beside the exam are welcome.
_RUNNERS = re.compile(
    r"\b(pytest|py\.test|unittest|jest|vitest|mocha|ava|rspec|phpunit|go test|cargo test)\b"
)
_CODE = re.compile(r"\.(py|js|cjs|mjs|ts|jsx|tsx|rb|rs|go|java|kt|php|c|cc|cpp|h|hpp|cs|swift)$")
_SCRIPT = re.compile(r"(^[^.]+|\.(sh|bash|py|mk|js|mjs|cjs|pl|rb|json))$")
_WORD = re.compile(r"[\w.][\w./+-]*")
_IMPORT = re.compile(r"^\s*(?:from|import)\s+([A-Za-z_][\w.]*)", re.MULTILINE)
_OWN_FOLDER = re.compile(r"""\$\(dirname "?\$\{?0\}?"?\)/|\$\{0%/\*\}/|\$here/|\$DIR/""")


def exam_globs(
    command: str,
    files: frozenset[str],
    texts: Mapping[str, str],
    own: Callable[[str], bool] | None,
) -> list[str]:
    """Globs of what an acceptance command runs and reads, as far as `files` of the base and the
    `texts` of some of them tell. `own`: whether a path is the feature's to write, None when
    nothing says what is.
    """
    named = [
        path
        for path in files_named(command, folders_of(files) | files)
        if not is_to_be_made(path, command, files)
    ]
    found = [*named, *files_implied(command), *_modules(command, files)]
    scripts = [path for path in map(normpath, found) if path in files]
    found += [*_tests_below(named, files), *_scripts(command, files)]
    behind = [
        path
        for path in _behind(command, scripts, files, texts)
        if not (own and own(path)) and _is_part(path, scoped=own is not None)
    ]
    read = [path for path in [*scripts, *behind] if path in texts]
    said = [command, *(_relevant(command, path, texts[path]) for path in read)]
    if any(map(_RUNNERS.search, said)):
        return [*found, *behind]
    return [*found, *behind, *_whole([*named, *behind], folders_of(files), own)]


def is_exam(path: str) -> bool:
    """Whether a path is that of an exam by its words alone."""
    words = re.split(r"[/._-]", path.lower())
    return any(word.startswith(_EXAM_WORDS) for word in words)


def is_to_be_made(path: str, command: str, files: frozenset[str]) -> bool:
    """Whether a file that a command names can only be what is examined: the base, whose `files`
    are known, has nothing of that name, it is none for an exam, and no test runner is told of it.
    """
    if not files or is_exam(path) or _RUNNERS.search(command) or re.search(r"[*?\[{]", path):
        return False
    return path not in files and path not in folders_of(files)


def unread(commands: Iterable[str], files: frozenset[str], texts: Mapping[str, str]) -> set[str]:
    """Files of the base that these commands run or include, and whose text is not known yet."""
    found: set[str] = set()
    for command in commands:
        named = [*files_named(command, folders_of(files) | files), *files_implied(command)]
        named += _modules(command, files)
        scripts = [normpath(path) for path in named if normpath(path) in files]
        found |= {*scripts, *_behind(command, scripts, files, texts)}
    return {path for path in found if path not in texts and _SCRIPT.search(basename(path))}


def setup_files(command: str, files: frozenset[str], texts: Mapping[str, str]) -> frozenset[str]:
    """Files that a setup command runs or reads, directly or through a script."""
    named = [*files_named(command, folders_of(files) | files), *files_implied(command)]
    scripts = [normpath(path) for path in named if normpath(path) in files]
    return frozenset(scripts) | {p for p in _behind(command, scripts, files, texts) if p in files}


# ------------------------------------------------------------------ by their names


def _scripts(command: str, files: Collection[str]) -> list[str]:
    """Test scripts that a command may call through another program, as `make test` does."""
    if not programs_of(command) & _CALLERS:
        return []
    return sorted(f for f in files if _TEST_SCRIPT.match(basename(f)))


def _modules(command: str, files: Collection[str]) -> Iterable[str]:
    """Files of `python -m shop.selftest` or `python -c 'import exam'`, where they exist and are
    checks by their name."""
    for name in re.findall(r"(?:-m|\bimport|\bfrom)\s+([A-Za-z_][\w.]*)", command):
        path = name.replace(".", "/")
        if _CHECK_MODULE.search(name):
            found = (f"{path}.py", f"{path}/__init__.py", f"{path}/__main__.py")
            yield from (f for f in found if f in files)


def _tests_below(named: Collection[str], files: Collection[str]) -> list[str]:
    folders = tuple(f"{normpath(name)}/" for name in named if normpath(name) not in files)
    if not folders:
        return []
    return sorted(f for f in files if f.startswith(folders) and _TEST_FILE.match(basename(f)))


def _whole(
    named: Iterable[str], folders: frozenset[str], own: Callable[[str], bool] | None
) -> list[str]:
    """The folders of exams that these paths are or lie in, with whatever may be put there."""
    found = []
    for path in map(normpath, named):
        parts = path.split("/")
        ends = len(parts) if path in folders else len(parts) - 1
        at = next((i for i in range(ends) if _FOLDERS.match(parts[i])), None)
        folder = "/".join(parts[: at + 1]) if at is not None else ""
        if folder and not (own and own(f"{folder}/x")):
            found.append(f"{folder}/**")
    return found


def _is_part(path: str, *, scoped: bool) -> bool:
    """Whether a file that a script names belongs to the exam, and not to what is examined: where
    a scope says what is, all else; otherwise by its kind and place."""
    if is_manifest(path):
        return False
    if scoped or not _CODE.search(path):
        return True
    exam = _TEST_SCRIPT.match(basename(path)) or _TEST_FILE.match(basename(path))
    return bool(exam) or any(_FOLDERS.match(part) for part in dirname(path).split("/"))


# ------------------------------------------------------------------ by their texts


def _behind(
    command: str, scripts: Iterable[str], files: frozenset[str], texts: Mapping[str, str]
) -> list[str]:
    """What the scripts name, and what those name in turn, as far as their texts are known."""
    found: dict[str, None] = {}
    now = list(map(normpath, scripts))
    for _ in range(DEPTH):
        named = [n for path in now for n in _names(command, path, texts.get(path, ""), files)]
        now = [path for path in dict.fromkeys(named) if path not in found]
        found.update(dict.fromkeys(now))
    return list(found)


def _names(command: str, path: str, text: str, files: frozenset[str]) -> list[str]:
    """Files of the base that the text of a script names, and what it includes if it is there."""
    folder = dirname(path)
    words = _WORD.findall(_OWN_FOLDER.sub("./", _relevant(command, path, text)))
    if path.endswith(".py"):
        modules = [n for n in _IMPORT.findall(text) if folder or _CHECK_MODULE.search(n)]
        words += [name.replace(".", "/") + ".py" for name in modules]
    places = [place for word in words for place in (normpath(word), _join(folder, word))]
    found = [place for place in dict.fromkeys(places) if place in files and place != path]
    if _is_makefile(path):
        for line in re.findall(r"^\s*-?s?include\s+(.+)$", text, re.MULTILINE):
            found += [_join(folder, word) for word in line.split() if "$" not in word]
    return found


def _is_makefile(path: str) -> bool:
    return basename(path) in {"Makefile", "makefile", "GNUmakefile"} or path.endswith(".mk")


def _relevant(command: str, path: str, text: str) -> str:
    """The part of a script's text that the command makes run."""
    if _is_makefile(path):
        return "\n".join(_recipes(text, programs_of(command)))
    if basename(path) == "package.json":
        return _package_scripts(text, programs_of(command))
    return text


def _join(folder: str, word: str) -> str:
    return normpath(f"{folder}/{word}" if folder else word)


def _recipes(text: str, words: Collection[str]) -> list[str]:
    """The recipes of the targets among `words`, or of the first one, and of what they need."""
    rules: dict[str, tuple[list[str], list[str]]] = {}
    now: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        rule = re.match(r"^([\w./ -]+):(?!=)([^=]*)$", line)
        if rule:
            now = rule[1].split()
            for name in now:
                rules.setdefault(name, ([], []))[0].extend(rule[2].split())
        elif line.startswith("\t"):
            for name in now:
                rules[name][1].append(line.strip())
    wanted = [n for n in rules if n in words] or [n for n in rules if not n.startswith(".")][:1]
    for name in wanted:  # grows by what is needed
        wanted += [n for n in rules[name][0] if n in rules and n not in wanted]
    return [line for name in wanted for line in rules[name][1]]


def _package_scripts(text: str, words: Collection[str]) -> str:
    try:
        scripts = json.loads(text)["scripts"]
        asked = {"t", *words} & {*scripts, "t"}
        names = [f"{before}{name}" for name in {*asked, "test"} for before in ("pre", "", "post")]
        return "\n".join(str(scripts[name]) for name in names if name in scripts)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
