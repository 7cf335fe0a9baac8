"""The integration branch at the start of a run: made, continued, or brought forward."""

from pathlib import Path

import pytest

from harness import inputs
from harness.git import Repository, create_from
from orchestrator.errors import InputError
from orchestrator.values import Feature, FeatureList, Project

GIVEN = FeatureList((Feature("a", "Add a."),), Project(repo="repo"))


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "a.txt").write_text("one\n")
    return await create_from(seed, tmp_path / "repo")


async def commit(repository: Repository, branch: str, message: str) -> str:
    """An empty commit on a branch; its id."""
    head = await repository.head_name(branch)
    assert head is not None
    made = await repository.commit_tree(f"{head}^{{tree}}", head, message)
    assert await repository.move_branch(branch, made, head)
    return made


async def test_a_branch_that_the_base_took_in_goes_on_from_the_base(
    repository: Repository, tmp_path: Path
) -> None:
    await inputs.settle(GIVEN, tmp_path, None)
    newer = await commit(repository, "main", "a new exam")
    target = await inputs.settle(GIVEN, tmp_path, None)
    assert (target.head, target.behind) == (newer, 0)
    assert await repository.head_name("autopilot") == newer


async def test_a_branch_that_went_its_own_way_stays_and_says_how_far_it_is_behind(
    repository: Repository, tmp_path: Path
) -> None:
    await inputs.settle(GIVEN, tmp_path, None)
    trailers = "Add a.\n\nFeature: a\nAttempt: a/r1-a01\nRun: r\n"
    merged = await commit(repository, "autopilot", trailers)
    await commit(repository, "main", "a new exam")
    target = await inputs.settle(GIVEN, tmp_path, None)
    assert (target.head, target.behind) == (merged, 1)
    assert target.integrated == {"a": merged}


async def test_a_look_moves_nothing(repository: Repository, tmp_path: Path) -> None:
    await inputs.settle(GIVEN, tmp_path, None)
    old = await repository.head_name("autopilot")
    await commit(repository, "main", "a new exam")
    await inputs.find_target(GIVEN, tmp_path)
    assert await repository.head_name("autopilot") == old


async def test_a_checked_out_branch_is_refused_only_while_there_is_work(
    repository: Repository, tmp_path: Path
) -> None:
    await inputs.settle(GIVEN, tmp_path, None)
    await repository.git("switch", "--quiet", "autopilot")
    with pytest.raises(InputError, match="is checked out at"):
        await inputs.settle(GIVEN, tmp_path, None)
    await commit(repository, "autopilot", "Add a.\n\nFeature: a\nAttempt: a/r1-a01\nRun: r\n")
    assert (await inputs.settle(GIVEN, tmp_path, None)).integrated
