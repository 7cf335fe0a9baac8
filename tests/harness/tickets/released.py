"""Real bugs of released packages: what was reported, what mended it, and what would not have.

The right answer is the next release's own file; nothing of it is kept here.
"""

import difflib
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.existing.packages import Package
from tests.harness.tickets.shop import creates, submits


@dataclass(frozen=True)
class Bug:
    """`module` is wrong in `old` and mended in `new`, whose `exam` (a test's id) shows it.

    `harm` and `dud` are edits of the old text: one breaks what worked, one changes nothing that
    matters. `shows` and `vain` are tests as an attempt would write them, into `test`; the second
    passes whatever is done.
    """

    old: Package
    new: Package
    module: str
    exam: str
    title: str
    body: str
    harm: tuple[str, str]
    dud: tuple[str, str]
    test: str
    shows: str
    vain: str


def _package(name: str, version: str, digest: str, test: str) -> Package:
    return Package(name, version, digest, f"python -m pytest -q -o addopts= {test}")


PARSE = Bug(
    old=_package("parse", "1.20.0",
                 "bd28bae37714b45d5894d77160a16e2be36b64a3b618c81168b3684676aa498b", "tests"),
    new=_package("parse", "1.20.1",
                 "09002ca350ad42e76629995f71f7b518670bcf93548bdde3684fd55d2be51975", "tests"),
    module="parse.py",
    exam="tests/test_parse.py::test_datetime_with_various_subsecond_precision",
    title="The %f directive only matches six digits",
    body="`parse('{:%S.%f}', '27.123')` returns None. strptime takes one to six digits for `%f`, "
    "so I expected 123 milliseconds.",
    harm=('"%f": "[0-9]{6}"', '"%f": "[0-9]{3}"'),
    dud=('"%f": "[0-9]{6}"', '"%f": "[0-9]{6,6}"'),
    test="tests/test_issue_7.py",
    shows="import parse\n\n\ndef test_three_digits():\n"
    "    assert parse.parse('{:%S.%f}', '27.123')[0].microsecond == 123000\n"
    "    assert parse.parse('{:%S.%f}', '27.1')[0].microsecond == 100000\n"
    "    assert parse.parse('{:%S.%f}', '27.123456')[0].microsecond == 123456\n"
    "    assert parse.parse('{:%S.%f}', '27.x') is None\n",
    vain="import parse\n\n\ndef test_digits():\n"
    "    assert parse.parse('{:%S.%f}', '27.123456')[0].microsecond == 123456\n",
)  # fmt: skip
SEMVER = Bug(
    old=_package("semver", "2.10.1",
                 "b08a84f604ef579e474ce448672a05c8d50d1ee0b24cee9fb58a12b260e4d0dc",
                 "test_semver.py"),
    new=_package("semver", "2.10.2",
                 "c0a4a9d1e45557297a722ee9bac3de2ec2ea79016b6ffcaca609b0bc62cf4276",
                 "test_semver.py"),
    module="semver.py",
    exam="test_semver.py::test_version_info_should_be_accessed_with_index",
    title="A part that is zero cannot be accessed by its index",
    body="`VersionInfo.parse('1.0.2')[1]` raises `IndexError: Version part undefined`. The minor "
    "part is defined, it is 0, so I expected 0.",
    harm=("tuple(filter(None, self.to_tuple()[index]))", "tuple(self.to_tuple()[index])"),
    dud=("tuple(filter(None, self.to_tuple()[index]))",
         "tuple(filter(bool, self.to_tuple()[index]))"),
    test="test_issue_7.py",
    shows="from semver import VersionInfo\n\n\ndef test_zero():\n"
    "    assert VersionInfo.parse('1.0.2')[1] == 0\n"
    "    assert VersionInfo.parse('0.1.2')[0] == 0\n"
    "    assert VersionInfo.parse('1.1.0')[0:3] == (1, 1, 0)\n"
    "    assert VersionInfo.parse('3.4.5')[2] == 5\n",
    vain="from semver import VersionInfo\n\n\ndef test_part():\n"
    "    assert VersionInfo.parse('1.1.2')[1] == 1\n",
)  # fmt: skip
XMLTODICT = Bug(
    old=_package("xmltodict", "0.12.0",
                 "50d8c638ed7ecb88d90561beedbf720c9b4e851a9fa6c47ebd64e99d166d8a21", "tests"),
    new=_package("xmltodict", "0.13.0",
                 "341595a488e3e01a85a9d8911d8912fd922ede5fecc4dce437eb4b6c8d037e56", "tests"),
    module="xmltodict.py",
    exam="tests/test_xmltodict.py::XMLToDictTestCase::test_namespace_collapse_all",
    title="An empty defaultdict of namespaces collapses nothing",
    body="With `namespaces=collections.defaultdict(lambda: None)` I expected `parse(xml, "
    "process_namespaces=True)` to drop all prefixes, for every lookup gives None. All of them "
    "are kept instead.",
    harm=("if not self.namespaces:", "if self.namespaces:"),
    dud=("self.namespaces.get(namespace, namespace)",
         "(self.namespaces or {}).get(namespace, namespace)"),
    test="tests/test_issue_7.py",
    shows="import collections\n\nimport xmltodict\n\nXML = '<a:b xmlns:a=\"u\">1</a:b>'\n\n\n"
    "def test_collapse():\n"
    "    every = collections.defaultdict(lambda: None)\n"
    "    found = xmltodict.parse(XML, process_namespaces=True, namespaces=every)\n"
    "    assert list(found) == ['b']\n"
    "    assert list(xmltodict.parse(XML)) == ['a:b']\n"
    "    assert list(xmltodict.parse(XML, process_namespaces=True)) == ['u:b']\n"
    "    assert xmltodict.parse('<a>1</a>') == {'a': '1'}\n",
    vain="import xmltodict\n\n\ndef test_plain():\n"
    "    assert xmltodict.parse('<a>1</a>') == {'a': '1'}\n",
)  # fmt: skip
BUGS = (PARSE, SEMVER, XMLTODICT)

_DRAW = "cat /proc/sys/kernel/random/uuid"


class Author:
    """A model of mixed ability: what the sandbox drew, which is part of every later request,
    decides what an attempt writes. Of eight four are right, two harm and two do nothing."""

    def __init__(self, bug: Bug, old: Path, new: Path) -> None:
        self._bug = bug
        before, after = ((f / bug.module).read_text(encoding="utf-8") for f in (old, new))
        self.answers: Mapping[str, tuple[str, str]] = {
            "right": (_diff(bug.module, before, after), bug.shows),
            "harm": (_diff(bug.module, before, before.replace(*bug.harm)), bug.shows),
            "dud": (_diff(bug.module, before, before.replace(*bug.dud)), bug.vain),
        }

    def __call__(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        messages = request["messages"]
        if not request.get("tools"):
            return [{"type": "text", "text": '{"sort": "bug"}'}]
        if len(messages) < 3:
            call = {"type": "tool_use", "name": "bash", "input": {"command": _DRAW}}
            return [call]
        if len(messages) > 3:
            return [submits("mended")]
        kind = drawn(str(messages[2]["content"]))
        patch, test = self.answers[kind]
        line = f"git apply --whitespace=nowarn - <<'END'\n{patch}END"
        apply = {"type": "tool_use", "name": "bash", "input": {"command": line}}
        return [{"type": "text", "text": f"I write: {kind}"}, apply, creates(self._bug.test, test)]


def drawn(text: str) -> str:
    number = hashlib.sha256(text.encode()).digest()[0] % 8
    return "right" if number < 4 else "harm" if number < 6 else "dud"


def _diff(path: str, before: str, after: str) -> str:
    assert before != after, "the release's text is not what the edit expects"
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return "".join(lines)


def passes(bug: Bug, new: Path, tree: Path) -> bool:
    """Whether the fix's own test, as it was released, passes on `tree`."""
    path = bug.exam.partition("::")[0]
    kept = (tree / path).read_bytes()
    (tree / path).write_bytes((new / path).read_bytes())
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider",
               bug.exam]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, timeout=120, check=False)
    finally:
        (tree / path).write_bytes(kept)
    assert done.returncode in (0, 1), done.stdout
    return done.returncode == 0
