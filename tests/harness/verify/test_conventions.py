"""What pytest's settings say of files that are tests."""

import pytest

from harness.verify.conventions import named_as_tests

TOML = "[tool.pytest.ini_options]\npython_files = ['check_*.py', \"test_*.py\"]\n"
INI = "[pytest]\npython_files =\n    check_*.py\n    test_*.py\naddopts = -q x.py\n"
ANY = "[tool.pytest.ini_options]\npython_files = ['*.py']\ntestpaths = ['spec', 'src']\n"


@pytest.mark.parametrize("text", [TOML, INI, INI.replace("pytest]", "tool:pytest]")])
def test_names(text: str) -> None:
    is_named = named_as_tests(["", text])
    assert is_named("checks/check_total.py")
    assert not is_named("shop/total.py")
    assert not is_named("x.py")


def test_a_name_for_everything_holds_in_the_folders_of_tests() -> None:
    is_named = named_as_tests([ANY])
    assert is_named("spec/total.py")
    assert not is_named("src/total.py")
    assert not is_named("shop/total.py")


def test_nothing_said() -> None:
    assert not named_as_tests(["", "[project]\nname = 'x'\n"])("spec/total.py")
