"""Features that no trusted check can judge: a person decides, once, and nothing is paid twice."""

import json

import pytest

from tests.spine.project import Project, writes


def in_review(project: Project) -> None:
    project.feature("alpha", acceptance=None)
    project.record("alpha", writes("alpha.txt", "alpha done"))
    project.feature("beta", "alpha")
    project.record("beta", writes("beta.txt", "beta done"))


@pytest.mark.long
def test_a_person_decides_and_the_rest_goes_on(project: Project) -> None:
    in_review(project)
    assert project.run().code == 3
    assert project.states() == {"alpha": "review", "beta": "blocked"}
    typed = [n["command"] for n in project.report()["next"]]
    assert any(c.startswith("fibreflow accept alpha r1-a01 --workspace /") for c in typed)
    # Again: nothing is spent, and it still waits.
    again = project.run()
    assert again.code == 3
    assert "accept" in again.out
    assert len(project.runs) == 1

    wrong = project.run("alpha", "r9-a01", command="accept")
    assert wrong.code == 2
    assert "r9-a01" in wrong.err
    accepted = project.run("alpha", "r1-a01", command="accept")
    assert accepted.code == 0, accepted
    assert project.merged() == ["alpha"]
    # The run is told of as it is now; what the review blocked is for the next one.
    assert project.states() == {"alpha": "merged", "beta": "blocked"}
    said = project.run(command="status").out.splitlines()[0]
    assert said.endswith("exit code 3; accepted since: alpha; the command that began it goes on "
                         "with what is blocked")  # fmt: skip
    assert project.run().code == 0
    assert project.merged() == ["alpha", "beta"]
    assert project.states() == {"alpha": "merged", "beta": "merged"}
    project.assert_nothing_left()


@pytest.mark.slow
def test_accept_finds_the_run_that_has_the_attempt(project: Project) -> None:
    """A later run leaves a feature in review alone, so the newest run does not have it."""
    in_review(project)
    project.feature("x")
    project.record("x", writes("x.txt", "wrong"))
    assert project.run().code == 1
    assert project.run().code == 1
    assert len(project.runs) == 2
    first, second = project.runs
    assert project.states()["alpha"] == "review"
    assert "alpha" not in {e.get("feature") for e in project.events("AttemptStarted")}
    (held,) = project.events("ReviewRequested")
    assert (held["attempt"], held["since"]) == ("r1-a01", first)
    typed = " ".join(n["command"] for n in project.report()["next"])
    assert f"/logs/{first}/alpha/r1-a01/patch.diff" in typed
    assert "accept alpha r1-a01" in typed
    accepted = project.run("alpha", "r1-a01", command="accept")
    assert accepted.code == 0, accepted
    assert project.merged() == ["alpha"]
    # Both runs know of it.
    for run in (first, second):
        told = project.run(run, "--json", command="report").out
        states = {f["id"]: f["state"] for f in json.loads(told)["features"]}
        assert states == {"alpha": "merged", "beta": "blocked", "x": "failed"}


@pytest.mark.long
def test_a_run_ends_well_when_a_person_takes_the_last_of_it(project: Project) -> None:
    project.feature("alpha", acceptance=None)
    project.record("alpha", writes("alpha.txt", "alpha done"))
    assert project.run().code == 3
    assert project.run("alpha", "r1-a01", command="accept").code == 0
    assert project.report()["exit_code"] == 0
    assert "finished, exit code 0; accepted since: alpha" in project.run(command="status").out
    again = project.run(command="resume")
    assert again.code == 0
    assert "exit code 0" in again.out


@pytest.mark.long
def test_accepting_what_makes_the_branch_red_is_refused(project: Project) -> None:
    project.feature("alpha", acceptance=None)
    project.record("alpha", writes("parts/alpha", "12345678"))
    project.feature("beta", acceptance=["sh checks/part.sh beta", "sh checks/room.sh"])
    project.record("beta", writes("parts/beta", "1234"))
    assert project.run().code == 3
    head = project.git("rev-parse", "autopilot")
    end = project.run("alpha", "r1-a01", command="accept")
    assert end.code == 1
    assert "red on the branch" in end.err
    assert project.git("rev-parse", "autopilot") == head
    assert project.run().code == 3


@pytest.mark.long
def test_a_winner_that_changes_what_setup_reads_is_for_a_person(project: Project) -> None:
    """Setup runs with a network, and what it leaves behind is under every later verification."""
    project.project["setup"] = "true"
    project.feature("alpha")
    project.record(
        "alpha", [*writes("requirements.txt", "x")[:1], *writes("alpha.txt", "alpha done")]
    )
    assert project.run().code == 3
    (asked,) = project.events("ReviewRequested")
    assert "changes requirements.txt, which project.setup runs" in asked["reasons"][-1]
    assert project.merged() == []
    assert project.run("alpha", "r1-a01", command="accept").code == 0
    assert project.merged() == ["alpha"]


@pytest.mark.long
def test_a_person_turns_it_down_and_the_next_run_is_told_why(project: Project) -> None:
    project.feature("alpha", acceptance=None)
    project.record("alpha", writes("alpha.txt", "alpha done"))
    assert project.run().code == 3
    assert "--reason" in project.run("alpha", "r1-a01", command="reject").err
    down = project.run("alpha", "r1-a01", "--reason", "Say it in capitals.", command="reject")
    assert down.code == 0, down
    assert project.states() == {"alpha": "failed"}
    assert "turned down by" in str(project.report()["features"][0])
    again = project.run("alpha", "r1-a01", "--reason", "Twice.", command="reject")
    assert again.code == 2
    assert "no such attempt waits" in again.err

    assert project.run().code == 3
    assert len(project.runs) == 2
    (used,) = project.events("PatternUsed")
    assert (used["shown"], used["compared"]) == (True, False)
    first = project.transcript("alpha")[0]["first"]["content"]
    assert any("> what happened: Say it in capitals." in block["text"] for block in first)
    assert project.run("alpha", "r1-a01", command="accept").code == 0
    (learned,) = json.loads((project.workspace / "learned_patterns.json").read_bytes())["patterns"]
    assert learned["status"] == "asked"
    assert learned["hits"] == 1
