"""Which changes of a commit make the layer of its setup anew."""

from pathlib import Path

import pytest

from harness.sandboxes.setup_inputs import digest_of_setup

SETUP = "bash tools/prepare.sh --fast"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "tools" / "prepare.sh").write_text("set -e\npython tools/fetch.py\n")
    (tmp_path / "tools" / "fetch.py").write_text("print(1)\n")
    (tmp_path / "sub" / "requirements-dev.txt").write_text("pytest\n")
    (tmp_path / "app.py").write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "renewed"),
    [
        ("tools/prepare.sh", True),  # what setup runs
        ("tools/fetch.py", True),  # and what that runs
        ("sub/requirements-dev.txt", True),
        ("app.py", False),
    ],
)
def test_what_setup_runs_and_manifests_name_its_layer(
    tree: Path, changed: str, renewed: bool
) -> None:
    before = digest_of_setup(tree, SETUP)
    assert digest_of_setup(tree, SETUP) == before
    with (tree / changed).open("a") as file:
        file.write("# changed\n")
    assert (digest_of_setup(tree, SETUP) != before) is renewed


def test_a_script_counts_only_for_the_command_that_runs_it(tree: Path) -> None:
    before = digest_of_setup(tree, "pip install -e .")
    (tree / "tools" / "prepare.sh").write_text("true\n")
    assert digest_of_setup(tree, "pip install -e .") == before


def test_a_link_is_not_followed_out_of_the_commit(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_text("secret\n")
    (tree / "tools" / "fetch.py").unlink()
    (tree / "tools" / "fetch.py").symlink_to(outside)
    before = digest_of_setup(tree, SETUP)
    outside.write_text("other\n")
    assert digest_of_setup(tree, SETUP) == before
