"""The gate: work waits for fresh data, goes on by itself, and a person can overrule it."""

import os
import time
from pathlib import Path

import pytest

from tests.spine.project import Project, until, wait, writes

HOUR = 3600.0


def promise(project: Project, gates: str, **more: str) -> Path:
    """The SLA of these tests; the file that it is about, fresh."""
    lines = [f"    {key}: {value}" for key, value in more.items()]
    text = (
        "slas:\n  facts_age:\n    probe: {type: file_age, path: facts.json}\n"
        f"    error: 10m\n    interval: 200ms\n    gates: {gates}\n" + "\n".join(lines) + "\n"
    )
    (project.workspace / "data_layer_slas.yaml").write_text(text, encoding="utf-8")
    facts = project.workspace / "facts.json"
    facts.touch()
    return facts


def spoil(facts: Path) -> None:
    old = time.time() - HOUR
    os.utime(facts, (old, old))


@pytest.mark.long
def test_a_run_holds_while_its_file_is_stale_and_goes_on_by_itself(project: Project) -> None:
    project.simple("a", "b")
    facts = promise(project, "{runs: true}")
    spoil(facts)
    program = project.start()
    until(lambda: project.events("DataHeld"), "it holds")
    held = project.events("DataHeld")[0]
    assert held["slas"] == ["facts_age"]
    assert "facts_age is 36" in held["reason"]
    # A hold costs nothing: no base, no sandbox, no model.
    assert not project.events("BasePrepared", "FeatureStarted", "ModelCalled")
    assert [p for p in project.sandboxes() if not p.endswith(".lock")] == []
    facts.touch()
    end = wait(program)
    assert end.code == 0, end
    assert project.events("DataReleased")
    assert sorted(project.merged()) == ["a", "b"]
    assert "held until data is fresh" in end.out
    assert any("facts_age" in text for text in project.report()["warnings"])


@pytest.mark.long
def test_only_the_gated_feature_waits(project: Project) -> None:
    project.simple("b")
    project.feature("a", scope=["data/**"])
    project.record("a", writes("a.txt", "a done"))
    project.feature("after-a", "a")
    project.record("after-a", writes("after-a.txt", "after-a done"))
    facts = promise(project, "{scope: ['data/**']}")
    spoil(facts)
    program = project.start()
    until(lambda: project.events("FeatureMerged"), "the other feature is merged meanwhile")
    assert [e["feature"] for e in project.events("FeatureMerged")] == ["b"]
    assert [e["feature"] for e in project.events("DataHeld")] == ["a"]
    assert "a" not in {e["feature"] for e in project.events("FeatureStarted")}
    facts.touch()
    end = wait(program)
    assert end.code == 0, end
    assert sorted(project.merged()) == ["a", "after-a", "b"]


@pytest.mark.long
def test_an_agent_is_gated(project: Project) -> None:
    project.simple("a")
    facts = promise(project, "{agents: ['built*']}")
    spoil(facts)
    end = project.run("--sla-policy", "refuse")
    assert end.code == 1
    assert project.states() == {"a": "blocked"}
    assert "facts_age" in str(project.report()["features"][0]["reasons"])
    assert not project.events("FeatureStarted", "ModelCalled")
    facts.touch()
    assert project.run("--sla-policy", "refuse").code == 0


@pytest.mark.long
@pytest.mark.parametrize("flags", [("--sla-policy", "refuse"), ("--sla-wait", "0")])
def test_a_run_that_cannot_start_ends_with_5_and_names_the_slas(
    project: Project, flags: tuple[str, ...]
) -> None:
    project.simple("a")
    facts = promise(project, "{runs: true}")
    spoil(facts)
    end = project.run(*flags)
    assert end.code == 5
    assert "facts_age" in end.err
    assert "--sla-override" in end.err
    assert project.events("DataRefused")[0]["slas"] == ["facts_age"]
    assert project.events()[-1]["type"] == "RunStopped"
    facts.touch()
    assert project.run(*flags).code == 0
    assert len(project.runs) == 1, "the same command goes on with the run that could not start"


@pytest.mark.parametrize("policy", ["warn", "proceed"])
@pytest.mark.slow
def test_a_policy_that_lets_pass(project: Project, policy: str) -> None:
    project.simple("a")
    spoil(promise(project, "{runs: true}"))
    end = project.run("--sla-policy", policy)
    assert end.code == 0, end
    assert any("facts_age" in t for t in project.report()["warnings"]) == (policy == "warn")


@pytest.mark.long
def test_an_override_by_flag_is_an_event_and_in_the_report(project: Project) -> None:
    project.simple("a")
    spoil(promise(project, "{runs: true, features: ['*']}"))
    end = project.run("--sla-override", "the sync is known to be late")
    assert end.code == 0, end
    overridden = project.events("DataOverridden")
    assert [e.get("feature") for e in overridden] == [None, "a"]
    assert overridden[0]["reason"] == "the sync is known to be late"
    assert overridden[0]["by"]
    report = (project.run_folder / "report.md").read_text("utf-8")
    assert "the sync is known to be late" in report


@pytest.mark.long
def test_a_run_that_holds_can_be_overridden_from_outside(project: Project) -> None:
    project.simple("a")
    spoil(promise(project, "{runs: true}"))
    program = project.start()
    until(lambda: project.events("DataHeld"), "it holds")
    said = project.run("override", "--reason", "looked at it", command="sla")
    assert said.code == 0, said
    end = wait(program)
    assert end.code == 0, end
    assert project.events("DataOverridden")[0]["reason"] == "looked at it"
    assert any("looked at it" in text for text in project.report()["warnings"])


@pytest.mark.long
def test_a_held_run_that_is_killed_holds_again(project: Project) -> None:
    project.simple("a")
    facts = promise(project, "{features: ['a']}")
    spoil(facts)
    program = project.start()
    until(lambda: project.events("DataHeld"), "it holds")
    program.kill()
    program.communicate()
    again = project.start()
    until(lambda: len(project.events("DataHeld")) == 2, "it holds again")
    facts.touch()
    assert wait(again).code == 0
    assert project.merged() == ["a"]
    assert len(project.runs) == 1


@pytest.mark.long
def test_interrupting_a_hold_leaves_at_once(project: Project) -> None:
    project.simple("a")
    spoil(promise(project, "{features: ['a']}"))
    program = project.start()
    until(lambda: project.events("DataHeld"), "it holds")
    program.send_signal(2)
    end = wait(program)
    assert end.code == 130
    assert not project.events("ModelCalled")


@pytest.mark.long
def test_missing_data_holds_unless_it_is_declared_good(project: Project) -> None:
    project.simple("a")
    facts = promise(project, "{runs: true}")
    facts.unlink()
    end = project.run("--sla-policy", "refuse")
    assert end.code == 5
    assert "no file matches" in end.err
    promise(project, "{runs: true}", no_data="good").unlink()
    assert project.run("--sla-policy", "refuse").code == 0


def test_a_file_of_slas_that_cannot_be_read_stops_before_anything_begins(project: Project) -> None:
    project.simple("a")
    promise(project, "{runs: yes please}")
    end = project.run()
    assert end.code == 2
    assert "line 6" in end.err
    assert not (project.workspace / "logs").exists()
