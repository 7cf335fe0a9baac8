"""What cannot be gone over once more is refused, with what to do, before anything is made."""

import json
from pathlib import Path

import pytest

from harness import lock, replay, reverify
from harness.git import Repository
from harness.record.journal import Journal
from harness.record.workspace import RunInfo, Workspace
from orchestrator import events as e
from orchestrator.errors import InputError
from orchestrator.features.form import full_form
from orchestrator.runs.recheck import PlayedRound
from orchestrator.values import Defaults, Feature, FeatureList, Project

GIVEN = FeatureList(
    (Feature("a", "A.", attempts=5), Feature("b", "B."), Feature("c", "C.")),
    Project(repo="repo", seed="seed", recording="said"),
    Defaults(attempts=4, quorum=1, budget_usd=3.0),
)


def info(tmp_path: Path, *, finished: bool = True) -> RunInfo:
    return RunInfo("run-1", tmp_path / "logs" / "run-1", "digest", finished=finished)


async def test_a_run_that_has_not_ended(tmp_path: Path) -> None:
    open_ = info(tmp_path, finished=False)
    with pytest.raises(InputError, match="resume run-1"):
        await reverify.recheck_run(Workspace(tmp_path), open_)
    with pytest.raises(InputError, match="resume run-1"):
        await replay.prepare(Workspace(tmp_path), open_, tmp_path / "copy")


async def test_a_run_without_a_lock_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lock\.json: there is none"):
        await reverify.recheck_run(Workspace(tmp_path), info(tmp_path))
    with pytest.raises(InputError, match=r"lock\.json: there is none"):
        await replay.prepare(Workspace(tmp_path), info(tmp_path), tmp_path / "copy")


async def test_a_folder_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        await replay.prepare(Workspace(tmp_path), info(tmp_path), tmp_path)


def locked(tmp_path: Path, commit: str) -> None:
    body = {
        "version": 1, "features": full_form(GIVEN), "settings": {},
        "commits": {"base": commit, "head": commit, "branch": "autopilot"},
    }  # fmt: skip
    (tmp_path / "logs" / "run-1" / lock.NAME).write_text(json.dumps(body))


async def test_a_run_that_asked_nobody_leaves_nothing_behind(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    journal.write(e.RunFinished(exit_code=0))
    locked(tmp_path, "0" * 40)
    with pytest.raises(InputError, match="asked no model"):
        await replay.prepare(Workspace(tmp_path), info(tmp_path), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_an_unknown_feature_is_named_with_the_nearest(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    locked(tmp_path, "0" * 40)
    with pytest.raises(InputError, match="no feature is called 'aa'; did you mean a"):
        await reverify.recheck_run(Workspace(tmp_path), info(tmp_path), "aa")


def test_a_round_is_played_with_those_that_were_chosen_among() -> None:
    """By number: those between were cut short, have no recording and end in an error."""
    rounds = [
        PlayedRound("a", 1, "c", ("r1-a01", "r1-a03"), "r1-a03", needs_review=False),
        PlayedRound("a", 2, "c", ("r2-a02",), None, needs_review=False),
        PlayedRound("b", 1, "c", ("r1-a01",), "r1-a01", needs_review=False),
    ]
    made = replay.as_played(GIVEN, rounds)
    assert [f.attempts for f in made.features] == [3, 1, None]
    assert made.defaults.quorum == 3  # no round is over before its last attempt is
    assert made.defaults.budget_usd is None
    assert (made.project.repo, made.project.seed) == ("repo", None)
