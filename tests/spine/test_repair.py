"""A failed verification is mended in the same sandbox, under the cap on all tries."""

import json

import pytest

from tests.spine.project import Project, bash, creates, says, submit


def first(name: str) -> list:
    """Wrong, and something left in the sandbox that no patch carries."""
    return [
        [says("I write it."), creates(f"{name}.txt", "wrong")],
        [bash("echo kept > $HOME/note")],
        [submit("first")],
    ]


@pytest.mark.long
def test_what_verification_found_is_mended_where_it_failed(project: Project) -> None:
    project.feature("alpha")
    project.defaults |= {"rounds": 2, "repairs": 1}
    mend = [bash('test "$(cat $HOME/note)" = kept && echo "alpha done" > alpha.txt')]
    project.record("alpha", [*first("alpha"), mend, [submit("second")]])

    end = project.run()

    assert end.code == 0, end
    (asked,) = project.events("RepairStarted")
    assert (asked["attempt"], asked["number"]) == ("r1-a01", 1)
    assert asked["problems"][0].startswith("sh checks/has.sh alpha")
    folder = project.run_folder / "alpha" / "r1-a01"
    assert b"+wrong" in (folder / "try-1" / "patch.diff").read_bytes()
    assert json.loads((folder / "try-1" / "evidence.json").read_bytes())["problems"]
    assert b"+alpha done" in (folder / "patch.diff").read_bytes()
    assert json.loads((folder / "attempt.json").read_bytes())["repairs"] == 1
    told = next(line for line in project.transcript("alpha") if line["type"] == "repair")
    assert "did not pass" in told["text"]
    assert len(project.events("AttemptStarted")) == 1
    assert len(project.events("RoundStarted")) == 1


@pytest.mark.long
def test_a_repair_that_breaks_off_leaves_what_was_handed_in_and_counts_as_a_try(
    project: Project,
) -> None:
    project.feature("alpha")
    project.defaults |= {"rounds": 2, "repairs": 1}
    project.record("alpha", first("alpha"))  # the recording has no answer to a repair
    assert project.run().code == 1
    folder = project.run_folder / "alpha" / "r1-a01"
    assert b"+wrong" in (folder / "patch.diff").read_bytes()
    (verified,) = project.events("VerificationFinished")
    assert verified["passed"] is False
    assert len(project.events("RoundStarted")) == 1  # two tries were allowed, and made
