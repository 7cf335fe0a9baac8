"""A run's lock file: what is in it, what is added to it, and what a run that goes on is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import inputs, lock, wiring
from harness.cli.flags import RunOptions
from harness.git import Repository
from harness.models.recorded import RecordedModel
from harness.record.journal import Journal, read_events
from harness.record.workspace import Workspace
from harness.services import Services
from orchestrator import events as e
from orchestrator.errors import InputError
from orchestrator.values import Defaults, Feature, FeatureList, Project
from tests.fakes.checker import Unasked
from tests.fakes.services import services

GIVEN = FeatureList(
    (Feature("a", "Add a.", acceptance=("true",)),),
    Project(repo="repo", recording="said", base="main"),
    Defaults(attempts=2, exactly=True),
)


@pytest.fixture
def wired(tmp_path: Path, repository: Repository, journal: Journal) -> Services:
    return services(tmp_path, GIVEN, repository, journal, Unasked())


async def opened(tmp_path: Path, given: FeatureList = GIVEN) -> wiring.Opened:
    said = tmp_path / "said" / "a"
    said.mkdir(parents=True, exist_ok=True)
    (said / "any.yaml").write_text("source: scripted\n")
    options = RunOptions(tmp_path, tmp_path / "feature_list.json", exactly=True)
    return wiring.Opened(
        given=given,
        workspace=Workspace(tmp_path),
        options=options,
        target=await inputs.find_target(given, tmp_path),
        model=RecordedModel(tmp_path / "said"),
        settings=wiring.settings_of("run-1", given, options, workers=3),
    )


async def test_it_reads_as_the_list_that_was_given(tmp_path: Path, wired: Services) -> None:
    await lock.keep(await opened(tmp_path), wired)
    kept = lock.load(wired.run_folder / lock.NAME)
    assert lock.given(kept, "lock") == GIVEN
    assert kept["settings"]["workers"] == 3
    assert kept["models"]["haiku"] == {"id": "scripted-haiku"}  # no price of what is not asked
    assert kept["commits"]["head"] == kept["commits"]["base"]


async def test_bases_are_added_as_they_are_prepared(tmp_path: Path, wired: Services) -> None:
    await lock.keep(await opened(tmp_path), wired)
    wired.journal.write(e.BasePrepared(commit="c0", seconds=1.0, workspaces="copy", id="d0"))
    wired.journal.write(e.BasePrepared(commit="c1", seconds=1.0))  # by a version without digests
    kept = lock.load(wired.run_folder / lock.NAME)
    assert kept["bases"] == {"c0": {"digest": "d0", "workspaces": "copy"}}


async def test_a_run_that_goes_on_is_told_what_has_changed(
    tmp_path: Path, wired: Services, journal: Journal
) -> None:
    for _ in range(2):
        await lock.keep(await opened(tmp_path), wired)
    assert read_events(journal.path) == ()
    path = wired.run_folder / lock.NAME
    begun = json.loads(path.read_bytes())
    begun["versions"]["git"] = "1.0"
    begun["commits"]["head"] = "the branch moves with every merge"
    path.write_text(json.dumps(begun))
    changed = replace(GIVEN, project=replace(GIVEN.project, profile="heavy"))
    await lock.keep(await opened(tmp_path, changed), wired)
    (warned,) = (x for x in read_events(journal.path) if isinstance(x, e.WarningGiven))
    assert "versions.git: 1.0 -> " in warned.message
    assert "sandbox.profile: standard -> heavy" in warned.message
    assert "commits" not in warned.message
    assert lock.load(path)["versions"]["git"] == "1.0"  # what it was begun with


@pytest.mark.parametrize("text", [None, "{", "[]", '{"version": 9}'])
def test_what_is_no_lock_file_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / lock.NAME
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"lock\.json"):
        lock.load(path)
