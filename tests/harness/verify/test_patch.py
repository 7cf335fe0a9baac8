"""Reading hostile patches: paths, modes, added lines, secrets and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.verify.patch import (
    MAX_PATCH,
    escaping_link,
    nearer,
    read_patch,
    shadows_standard_library,
    shown,
    stand_ins,
    unquote,
    unsafe_path,
)

PLAIN = b"""diff --git a/shop/a.py b/shop/a.py
index 1111111..2222222 100644
--- a/shop/a.py
+++ b/shop/a.py
@@ -1,3 +1,4 @@
 one
-two
+TWO
+two and a half
 three
@@ -10 +11,0 @@ def f():
-ten
diff --git a/shop/b.py b/shop/b.py
new file mode 100644
--- /dev/null
+++ b/shop/b.py
@@ -0,0 +1,2 @@
+++ b/not/a/header.py
+second
"""


def test_added_lines_by_their_new_numbers() -> None:
    text = read_patch(PLAIN)
    assert text.added == {"shop/a.py": {2, 3}, "shop/b.py": {1, 2}}
    assert text.added_lines == 4
    assert text.problems == ()
    assert text.modes == {0o100644}


def test_sources_of_renames_and_copies() -> None:
    patch = b'rename from old name.py\ncopy from "t\\303\\244st.py"\n'
    assert read_patch(patch).sources == ("old name.py", "täst.py")


@pytest.mark.parametrize("mode", [b"160000", b"0160000", b" +160000"])
def test_a_submodule_however_written(mode: bytes) -> None:
    assert "adds a git submodule" in read_patch(b"new file mode " + mode + b"\n").problems


def test_too_large() -> None:
    assert "larger than" in read_patch(b"x" * (MAX_PATCH + 1)).problems[0]


def test_binary_files_are_measured_as_they_will_be() -> None:
    assert read_patch(b"GIT binary patch\nliteral 999\n").problems == ()
    assert "binary" in read_patch(b"literal 9000000\nliteral 9000000\n").problems[0]
    assert "binary" in read_patch(b"literal " + b"9" * 5000 + b"\n").problems[0]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("-----BEGIN " + "OPENSSH PRIVATE KEY-----", "private key"),
        ("AKIA" + "ABCDEFGHIJKLMNOP", "AWS"),
        ("sk-ant-" + "api03-abcdefghijklmnopqrst", "Anthropic"),
        ("ghp_" + "a" * 36, "GitHub"),
        ("xoxb-" + "1234567890-abc", "Slack"),
    ],
)
def test_secrets_in_added_lines_only(line: str, name: str) -> None:
    head = "+++ b/a\n@@ -0,0 +1 @@\n"
    (problem,) = read_patch(f"{head}+key = '{line}'\n".encode()).problems
    assert name in problem
    assert line not in problem
    assert read_patch(f"+++ b/a\n@@ -1 +0,0 @@\n-{line}\n".encode()).problems == ()


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", ".git/config", "a/.GIT/x", "git~1/x", ".git."]
)
def test_unsafe_paths(path: str) -> None:
    assert unsafe_path(path)


@pytest.mark.parametrize("path", ["a", "a/b.py", ".gitignore", "..a/b", ".github/x", "a b/ü"])
def test_safe_paths(path: str) -> None:
    assert unsafe_path(path) is None


@pytest.mark.parametrize(
    ("path", "target", "escapes"),
    [
        ("a", "b", False),
        ("a", "../b", True),
        ("d/a", "../b", False),
        ("d/a", "../../b", True),
        ("d/a", "x/../../../b", True),
        ("a", "/etc", True),
        ("a", ".", False),
    ],
)
def test_links(path: str, target: str, escapes: bool) -> None:
    assert escaping_link(path, target) is escapes


def test_unquoting() -> None:
    assert unquote(b'"a\\tb\\"c\\\\d"') == 'a\tb"c\\d'
    assert unquote(b"plain name\t") == "plain name"


def test_shown_is_one_harmless_line() -> None:
    assert shown("a\n\x1b[2Jb") == "a��[2Jb"
    assert shown("x" * 400, 10) == "x" * 10 + "..."


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    read_patch(data)
    read_patch(PLAIN + data)


@pytest.mark.parametrize(
    "path", ["filecmp.py", "tests/fractions.py", "src/json/__init__.py", "checks/unit/string.py"]
)
def test_a_module_in_the_place_of_pythons_own(path: str) -> None:
    assert "hides Python's own" in (shadows_standard_library(path) or "")


@pytest.mark.parametrize(
    "path", ["shop/types.py", "docs/calendar.py", "json.md", "src/shop/json.py", "a/json/x.py", ""]
)
def test_a_module_of_its_own(path: str) -> None:
    assert shadows_standard_library(path) is None


GUARDED = {"tests/helpers.py", "tests/test_total.py", "exam.py", "tests/unit/test_a.py"}


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("tests/helpers/__init__.py", "tests/helpers.py"),
        ("tests/helpers/__init__.abi3.so", "tests/helpers.py"),
        ("tests/helpers.cpython-312-x86_64-linux-gnu.so", "tests/helpers.py"),
        ("exam/__init__.py", "exam.py"),
        ("exam.so", "exam.py"),
    ],
)
def test_what_is_imported_in_the_place_of_a_guarded_file(path: str, hidden: str) -> None:
    (why,) = stand_ins([path], GUARDED.__contains__)
    assert why == f"would be imported in the place of {hidden}: {path}"


@pytest.mark.parametrize(
    "path",
    ["shop/total/__init__.py", "tests/helpers/x.py", "tests/other.py", "x.so", "__init__.py"],
)
def test_what_stands_in_for_nothing(path: str) -> None:
    assert stand_ins([path], GUARDED.__contains__) == ()


def test_a_tests_support_is_not_hidden_by_a_nearer_one() -> None:
    loose = ["tests/unit/helpers.py", "tests/unit/deep/helpers/__init__.py"]
    assert [why.split(": ")[0].split()[-1] for why in nearer(loose, GUARDED)] == [
        "tests/helpers.py"
    ] * 2
    honest = ["tests/unit/more/test_total.py", "shop/helpers.py", "tests/unit/other.py", "x.py"]
    assert nearer(honest, GUARDED) == ()
