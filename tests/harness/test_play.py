"""What happens outside while a run is at work: the branch is moved, the list is broken."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spine.project import Project, bash, says, until, wait, writes


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """`alpha` is merged at once, `beta` when the test says so."""
    made = Project(tmp_path, tmp_path / "cache", sandbox="process")
    made.simple("alpha")
    made.feature("beta")
    hold = f"until test -e {tmp_path}/go; do sleep 0.05; done"
    made.record("beta", [[says("Wait."), bash(hold)], *writes("beta.txt", "beta done")])
    yield made
    (tmp_path / "go").touch()


def merged(project: Project) -> bool:
    return any(e["feature"] == "alpha" for e in project.events("FeatureMerged"))


@pytest.mark.slow
def test_a_branch_that_lost_what_was_merged_is_no_good_end(project: Project) -> None:
    process = project.start("--workers", "2")
    until(lambda: merged(project) or process.poll() is not None, "alpha is merged")
    project.git("update-ref", "refs/heads/autopilot", "main")
    (project.folder / "go").touch()
    end = wait(process)
    assert end.code == 1, end
    assert project.merged() == ["beta"]
    (said,) = (e["message"] for e in project.events("WarningGiven") if "moved it" in e["message"])
    assert said.startswith("alpha was merged, but is not on branch autopilot any more")
    # The branch is the truth: the next start merges it again.
    assert project.run().code == 0
    assert sorted(project.merged()) == ["alpha", "beta"]


@pytest.mark.slow
def test_a_list_that_is_broken_meanwhile_is_left_alone(project: Project) -> None:
    process = project.start("--workers", "2")
    until(lambda: merged(project) or process.poll() is not None, "alpha is merged")
    whole = project.list.read_text()
    project.list.write_text('{"features": [')
    (project.folder / "go").touch()
    end = wait(process)
    assert end.code == 0, end
    assert sorted(project.merged()) == ["alpha", "beta"]
    assert project.list.read_text() == '{"features": ['
    assert any("passes was not written" in e["message"] for e in project.events("WarningGiven"))
    project.list.write_text(whole)
    assert "nothing to do" in project.run().out
    assert [f["passes"] for f in json.loads(project.list.read_text())["features"]] == [True, True]
