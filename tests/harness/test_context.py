"""What an agent is told of the repository: the same for a round, bounded, with what was built."""

from pathlib import Path

import pytest

from harness import context, progress
from harness.git import Repository
from harness.record.journal import Journal
from harness.services import Services
from orchestrator.values import Feature, FeatureList, Project
from tests.fakes.checker import Unasked
from tests.fakes.services import services


@pytest.fixture
def wired(tmp_path: Path, repository: Repository, journal: Journal) -> Services:
    given = FeatureList((Feature("a", "Add a."),), Project(repo="repo", test="make test"))
    return services(tmp_path, given, repository, journal, Unasked())


async def committed(repository: Repository, files: dict[str, str]) -> str:
    for name, text in files.items():
        (repository.path / name).write_text(text)
    await repository.git("add", "--all")
    await repository.git("commit", "--quiet", "--message", "more")
    return (await repository.git("rev-parse", "HEAD")).strip()


async def test_files_readme_and_tests(wired: Services) -> None:
    commit = await committed(wired.repository, {"README.rst": "What it is.", "b.txt": "two"})
    said = await context.describe(wired, commit)
    assert f"Files at {commit[:12]}:\nREADME.rst\na.txt\nb.txt" in said
    assert "README.rst:\nWhat it is." in said
    assert said.endswith("The project's own tests: make test")
    assert "Built lately" not in said
    assert said == await context.describe(wired, commit)


async def test_it_is_of_the_commit_not_of_the_working_tree(wired: Services) -> None:
    commit = await committed(wired.repository, {"README.md": "as committed"})
    (wired.repository.path / "README.md").write_text("as it is now")
    (wired.repository.path / "stray.txt").write_text("")
    said = await context.describe(wired, commit)
    assert "as committed" in said
    assert "as it is now" not in said and "stray.txt" not in said


async def test_what_is_long_is_cut_and_says_so(wired: Services) -> None:
    many = {f"f{n:04}.txt": "" for n in range(context.MAX_FILES + 9)}
    many["README.md"] = "x" * 2 * context.MAX_README_CHARS
    said = await context.describe(wired, await committed(wired.repository, many))
    assert "... and 11 more" in said
    assert len(said) < context.MAX_FILES * 11 + context.MAX_README_CHARS + 200
    # The README is named even when the list of files ends before it.
    assert "README.md:\nxxx" in said


async def test_what_was_built_lately(wired: Services) -> None:
    progress.append(wired.workspace.progress, "## a: merged\n\n- merged r1-a01\n")
    commit = await committed(wired.repository, {"b.txt": "two"})
    assert "Built lately:\n## a: merged" in await context.describe(wired, commit)
