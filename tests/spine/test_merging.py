"""What reaches the branch, in which order, and what stays out of it."""

from collections.abc import Callable

import pytest

from tests.spine.project import Project, Turn, bash, says, submit, writes

FITS = ["sh checks/room.sh"]


@pytest.mark.long
def test_green_alone_red_together(project: Project) -> None:
    for name in ("p", "q"):
        project.feature(name, acceptance=[f"sh checks/part.sh {name}", *FITS])
        project.record(name, writes(f"parts/{name}", "123456"))
    assert project.run("--workers", "4").code == 1
    assert sorted(project.states().values()) == ["failed", "merged"]
    (refused,) = project.events("MergeRejected")
    assert "red on the branch" in refused["reason"]
    assert refused["onto"] == project.git("rev-parse", "autopilot").strip()
    assert len(project.merged()) == 1
    assert project.git("ls-tree", "-r", "--name-only", "autopilot", "parts").count("\n") == 1


@pytest.mark.long
def test_a_refused_winner_gets_another_round_that_knows_why(project: Project) -> None:
    project.defaults["rounds"] = 2
    for name in ("p", "q"):
        project.feature(name, acceptance=[f"sh checks/part.sh {name}", *FITS])
        project.record(name, writes(f"parts/{name}", "123456"), "r1-a01")
        project.record(name, writes(f"parts/{name}", "12"), "r2-a01")
    assert project.run("--workers", "4").code == 0
    (refused,) = project.events("MergeRejected")
    started = project.transcript(refused["feature"], "r2-a01")[0]
    assert "red on the branch" in started["first"]["content"][-1]["text"]
    assert sorted(project.merged()) == ["p", "q"]


@pytest.mark.long
def test_a_conflict_is_refused(project: Project) -> None:
    for name in ("p", "q"):
        project.feature(name, acceptance=[f"sh checks/shared.sh {name}"])
        project.record(name, writes("shared.txt", f"{name}\n"))
    assert project.run("--workers", "4").code == 1
    assert sorted(project.states().values()) == ["failed", "merged"]
    (refused,) = project.events("MergeRejected")
    assert "conflicts with the branch in shared.txt" in refused["reason"]
    assert project.file("shared.txt") == f"{project.merged()[0]}\n"


@pytest.mark.long
def test_a_failure_blocks_its_dependents_and_nothing_else(project: Project) -> None:
    project.feature("a")
    project.record("a", writes("a.txt", "wrong"))
    project.feature("b", "a")
    project.feature("c", "b")
    project.simple("x")
    project.feature("y", "x")
    project.record("y", writes("y.txt", "y done"))
    end = project.run()
    assert end.code == 1
    assert project.states() == {
        "a": "failed", "b": "blocked", "c": "blocked", "x": "merged", "y": "merged",
    }  # fmt: skip
    assert {e["feature"] for e in project.events("FeatureStarted")} == {"a", "x", "y"}


@pytest.mark.long
def test_order(project: Project) -> None:
    """The critical path first, and no feature before all that it depends on is integrated.

    One of three may come first because it was made ready first; then the path goes before the rest.
    """
    project.simple("y", "z", "a")
    for name, needs in (("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))):
        project.feature(name, *needs)
        project.record(name, writes(f"{name}.txt", f"{name} done"))
    assert project.run("--workers", "1").code == 0
    happened = [
        (e["type"], e["feature"])
        for e in project.events("AttemptStarted", "FeatureStarted", "FeatureMerged")
    ]
    assert "a" in [f for t, f in happened if t == "AttemptStarted"][:2]
    for feature, need in (("b", "a"), ("c", "a"), ("d", "b"), ("d", "c")):
        start, merge = ("FeatureStarted", feature), ("FeatureMerged", need)
        assert happened.index(start) > happened.index(merge)


@pytest.mark.long
def test_losers_at_work_are_cancelled(project: Project) -> None:
    project.defaults |= {"attempts": 2, "quorum": 1, "timeout_minutes": 30}
    project.feature("alpha")
    slow = bash(f"sleep 600; : {project.marker}")
    project.record("alpha", [[says("I wait."), slow], [submit()]], "r1-a01")
    # The winner waits until its rival is at work.
    rival: list[Turn] = [[bash("sleep 1")], *writes("alpha.txt", "alpha done")]
    project.record("alpha", rival, "r1-a02")
    assert project.run("--workers", "2").code == 0
    (cancelled,) = project.events("AttemptCancelled")
    assert cancelled["attempt"] == "r1-a01"
    assert [e["attempt"] for e in project.events("AttemptFinished")] == ["r1-a02"]
    states = {a["name"]: a["state"] for a in project.report()["features"][0]["attempts"]}
    assert states == {"r1-a01": "cancelled", "r1-a02": "passed"}
    project.assert_nothing_left()


@pytest.mark.long
def test_a_round_that_failed_teaches_the_next(project: Project) -> None:
    project.defaults |= {"rounds": 3, "attempts": 2}
    project.feature("alpha")
    project.record("alpha", writes("alpha.txt", "first"), "r1-a01")
    project.record("alpha", writes("alpha.txt", "second"), "r1-a02")
    project.record("alpha", writes("alpha.txt", "alpha done"), "r2-a01")
    project.record("alpha", writes("alpha.txt", "third"), "r2-a02")
    assert project.run().code == 0
    assert "r1-a01" not in str(project.transcript("alpha")[0]["first"])
    told = project.transcript("alpha", "r2-a01")[0]["first"]["content"][-1]["text"]
    assert "r1-a01, r1-a02: sh checks/has.sh alpha" in told
    assert [e["round"] for e in project.events("RoundStarted")] == [1, 2]
    assert project.report()["features"][0]["attempt"] == "r2-a01"


@pytest.mark.long
def test_it_gives_up_after_its_rounds(project: Project) -> None:
    project.defaults["rounds"] = 2
    project.feature("alpha")
    project.record("alpha", writes("alpha.txt", "wrong"))
    end = project.run()
    assert end.code == 1
    assert "nothing to merge after 2 rounds" in project.report()["features"][0]["reasons"][0]
    assert project.merged() == []
    assert len(project.events("AttemptFinished")) == 2
    project.assert_nothing_left()


CHEATED = {
    "answers/__init__.py": "",
    "tests/exam/test_alpha.py": (
        "from answers.alpha import answer\n\n\n"
        "def test_answer():\n    assert answer() == 42\n\n\n"
        "def test_again():\n    assert answer() + answer() == 84\n"
    ),
}
WRONG = "def answer():\n    return 41\n"
RIGHT = "def answer():\n    return 42\n"
FORGED = (
    '<testsuite tests="2"><testcase name="test_answer"/><testcase name="test_again"/></testsuite>'
)


@pytest.mark.long
def test_cheats_are_not_selected(make: Callable[..., Project]) -> None:
    project = make(extra=CHEATED)
    project.defaults |= {"attempts": 5, "quorum": 5}
    project.feature("alpha", acceptance=["python -m pytest -q tests/exam/test_alpha.py"])
    skip = "import pytest\n\n\ndef pytest_collection_modifyitems(items):\n    items.clear()\n"
    forge = (
        "import pathlib\nfor n in ('report.xml', 'junit.xml'):\n"
        f"    pathlib.Path(n).write_text('''{FORGED}''')\n"
    )
    early = "import os\n\nos._exit(0)\n"
    cheats = {
        "r1-a01": ("tests/exam/test_alpha.py", "def test_answer():\n    pass\n"),
        "r1-a02": ("conftest.py", skip),
        "r1-a03": ("answers/alpha.py", forge + WRONG),
        "r1-a04": ("answers/alpha.py", early + RIGHT),
    }
    for name, (path, text) in cheats.items():
        own = [] if path == "answers/alpha.py" else writes("answers/alpha.py", WRONG)[:1]
        project.record("alpha", [*own, *writes(path, text)], name)
    project.record("alpha", writes("answers/alpha.py", RIGHT), "r1-a05")
    assert project.run().code == 0
    found = project.report()["features"][0]
    assert found["attempt"] == "r1-a05"
    assert {a["name"]: a["state"] for a in found["attempts"]} == {
        **dict.fromkeys(cheats, "rejected"), "r1-a05": "passed",
    }  # fmt: skip
    assert project.file("answers/alpha.py") == RIGHT
