"""A small run in E2B's sandboxes, from the command line to the branch, against the emulator."""

from collections.abc import Callable

import pytest

from tests.emulators.e2b import E2BServer
from tests.spine.project import Project


@pytest.mark.slow
def test_a_run_in_the_cloud(make: Callable[..., Project], e2b_cloud: E2BServer) -> None:
    project = make(sandbox="e2b")
    project.simple("alpha")
    end = project.run()
    assert end.code == 0, end
    assert project.merged() == ["alpha"]
    used = project.events("SandboxUsed")
    assert "alpha.r1-a01" in {event["sandbox"] for event in used}
    spent = sum(event["cost_usd"] for event in used)
    assert spent > 0
    assert project.report()["cost_usd"] == pytest.approx(spent)
    # Nothing of the run is left to be paid for, or to be kept.
    run = project.runs[-1]
    left = [
        b for b in e2b_cloud.cloud.live() if b.body["metadata"].get("fibreflow_namespace") == run
    ]
    assert left == []


def test_without_a_key_nothing_is_begun(project: Project) -> None:
    project.simple("alpha")
    project.sandbox, project.env["E2B_API_KEY"] = "e2b", ""
    end = project.run()
    assert end.code == 5
    assert "E2B_API_KEY is not set" in end.err
    assert project.runs == []
