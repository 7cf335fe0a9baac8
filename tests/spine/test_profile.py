"""`project.profile` reaches the sandboxes of attempts, of verification and of the merged tree."""

import pytest

from orchestrator.errors import FeatureListError
from orchestrator.features.file import parse
from tests.spine.project import Project, bash, creates, submit


@pytest.mark.long
def test_the_profiles_limits_hold_for_the_attempt_and_its_checks(project: Project) -> None:
    project.project |= {"profile": "quick", "workspaces": "copy"}
    project.feature("a", acceptance=['test "$(ulimit -n)" = 1024 && test "$(cat a.txt)" = 1024'])
    project.record("a", [[creates("b.txt", "b")], [bash("ulimit -n > a.txt")], [submit()]])
    assert project.run().code == 0
    assert project.file("a.txt") == "1024\n"
    assert {e["workspaces"] for e in project.events("BasePrepared")} == {"copy"}


def test_a_profile_nobody_knows_is_refused_with_the_names_there_are() -> None:
    text = '{"project": {"profile": "huge"}, "features": [{"id": "a", "description": "A."}]}'
    with pytest.raises(FeatureListError, match="one of quick, standard, heavy, install"):
        parse(text, "list")
