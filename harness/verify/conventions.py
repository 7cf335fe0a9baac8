"""Reads from pytest's settings which files a project takes for tests beside the usual names."""

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from posixpath import basename

#: Files pytest reads its settings from, all of which may say it: what one leaves out counts less
#: than a test that goes unnoticed.
SETTINGS = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_VALUE = r"^\s*{}\s*=\s*(\[[^\]]*\]|[^\n]*(?:\n[ \t]+[^\n]*)*)"
_WORD = re.compile(r"""[^\s"',\[\]]+""")
#: Such a pattern says nothing but by the folder it is looked for in.
_ANY = {"*", "*.py", "**/*.py"}
_PRODUCT = {".", "src", "lib", "*"}


def named_as_tests(settings: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path is a test by what these settings say. `settings`: texts of `SETTINGS`."""
    texts = list(settings)
    patterns = set(_values("python_files", texts))
    own = patterns - _ANY
    folders = [f.strip("/").removeprefix("./") for f in _values("testpaths", texts)]
    folders = [f for f in folders if f not in _PRODUCT and not f.startswith("src/")]
    everything = bool(patterns & _ANY)

    def is_named(path: str) -> bool:
        if any(fnmatchcase(basename(path), pattern) for pattern in own):
            return True
        return everything and any(path.startswith(f"{folder}/") for folder in folders)

    return is_named


def _values(name: str, texts: Iterable[str]) -> list[str]:
    found = [m[1] for text in texts for m in re.finditer(_VALUE.format(name), text, re.MULTILINE)]
    return [word for value in found for word in _WORD.findall(value)]
