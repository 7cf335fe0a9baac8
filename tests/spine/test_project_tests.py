"""The project's own tests before any change: not to be run, red, or red as they should be."""

from collections.abc import Callable

import pytest

from tests.spine.project import Project, writes

GREEN = "def test_green():\n    assert True\n"
RED = "def test_red():\n    assert False\n"


def warnings(project: Project) -> list[str]:
    return [e["message"] for e in project.events("WarningGiven")]


@pytest.mark.long
def test_tests_that_cannot_be_run_stop_the_run_before_any_attempt(project: Project) -> None:
    project.simple("alpha")
    project.project["test"] = "no-such-command --all"
    for _ in range(2):  # what is wrong with the machine is looked at anew each time
        end = project.run()
        assert end.code == 2, end
        assert "project.test `no-such-command --all`" in end.err
        assert "project.setup" in end.err
        assert project.events("FeatureStarted", "AttemptStarted") == []
    assert project.events()[-1]["type"] == "RunStopped"
    assert "stopped: project.test" in project.run(command="status").out
    # Once the command is there, the same list is worked off.
    project.list.write_text(project.list.read_text().replace("no-such-command --all", "true"))
    assert project.run().code == 0
    assert warnings(project) == []


@pytest.mark.long
def test_tests_that_are_red_before_any_change_are_said_once(make: Callable[..., Project]) -> None:
    project = make(extra={"tests/test_green.py": GREEN, "tests/test_red.py": RED})
    project.simple("alpha")
    assert project.run().code == 0
    (said,) = (w for w in warnings(project) if "red before any change" in w)
    assert "(1 failed); only what passed before is required" in said


@pytest.mark.long
def test_a_command_that_fails_is_said_with_its_exit_status(project: Project) -> None:
    project.simple("alpha")
    project.project["test"] = "exit 7"
    assert project.run().code == 0
    (said,) = (w for w in warnings(project) if "red before any change" in w)
    assert "(exit 7); none of them is required" in said


@pytest.mark.long
def test_exams_of_features_to_come_are_red_as_they_should_be(make: Callable[..., Project]) -> None:
    exam = "from pathlib import Path\n\n\ndef test_it():\n    assert Path('b.txt').exists()\n"
    project = make(extra={"tests/test_green.py": GREEN, "tests/test_b.py": exam})
    project.feature("b", acceptance=["python -m pytest -q tests/test_b.py"])
    project.record("b", writes("b.txt", "b done"))
    assert project.run().code == 0
    assert warnings(project) == []
