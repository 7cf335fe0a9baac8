"""The rules for strings agree with git where git has a say."""

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.features import rules

# Each example starts git; how long that takes says nothing here.
FEW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(st.text(alphabet="ab/.-@{}~^: *?[\\\x7flock", min_size=1, max_size=8))
def test_a_branch_that_is_let_through_is_one_git_takes(name: str) -> None:
    try:
        rules.branch(name)
    except ValueError as error:
        assert ";" in str(error)
        return
    command = ["git", "check-ref-format", "--branch", name]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["autopilot", "feat/a-b_c.d", "v1.0", "ünï", "a@b", "x/HEAD"])
def test_branches_people_use_are_let_through(name: str) -> None:
    assert rules.branch(name) == name


@pytest.mark.parametrize("name", ["main", "HEAD~2", "v1.0^{}", "origin/main", "a1b2c3", "main@{1}"])
def test_revisions_git_knows_are_let_through(name: str) -> None:
    assert rules.revision(name) == name


@pytest.mark.parametrize("name", ["-x", "a..b", "HEAD:x", "a b", "", " ", "a\n"])
def test_revisions_that_are_more_than_one_commit_are_not(name: str) -> None:
    with pytest.raises(ValueError, match=";"):
        rules.revision(name)


@pytest.mark.parametrize("path", [".", "..", "/srv/x", "~/x", "a b", "x@y", "é"])
def test_folders_may_be_anywhere(path: str) -> None:
    assert rules.folder(path) == path


@pytest.mark.parametrize("path", ["git@example.org:x.git", "file:///x", "-x", "a\0", ""])
def test_what_is_no_folder_is_told(path: str) -> None:
    with pytest.raises(ValueError, match=";"):
        rules.folder(path)


@pytest.mark.parametrize("good", ["src/**", "*.py", "a..b/x", "./x", "[ab]/?.c", "a b"])
def test_globs_below_the_root(good: str) -> None:
    assert rules.glob(good) == good


@given(st.text(max_size=20))
def test_an_id_that_is_let_through_is_safe_everywhere(text: str) -> None:
    try:
        rules.identifier(text)
    except ValueError:
        return
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set(" /\\:\"'$`;&|<>*?")
    assert text[0].isalnum()


def test_shown_is_one_bounded_printable_line() -> None:
    assert rules.shown("a\x1b[31m\nb") == '"a\\x1b[31m\\nb"'
    assert len(rules.shown("x" * 1000)) < 70
