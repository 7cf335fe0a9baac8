"""The workflow files are what their threat model says: pinned, least rights, nothing untrusted."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FLOWS = ("fibreflow-ticket", "fibreflow-nightly")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
#: What somebody outside can write, or name.
UNTRUSTED = re.compile(r"github\.event\.(issue|comment|pull_request|review|head)|inputs\.instr")


def flow(name: str) -> dict[Any, Any]:
    path = ROOT / ".github" / "workflows" / f"{name}.yml"
    return dict(yaml.safe_load(path.read_text()))


def steps(body: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in body["jobs"].values() for step in job["steps"]]


ALL_STEPS = [*ACTION["runs"]["steps"], *(step for name in FLOWS for step in steps(flow(name)))]


@pytest.mark.parametrize("step", [s for s in ALL_STEPS if "uses" in s], ids=lambda s: s["uses"])
def test_what_is_used_is_pinned_by_commit(step: dict[str, Any]) -> None:
    assert step["uses"] == "./" or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


@pytest.mark.parametrize("step", [s for s in ALL_STEPS if "run" in s], ids=lambda s: s["run"][:30])
def test_no_expression_is_part_of_a_command(step: dict[str, Any]) -> None:
    assert "${{" not in step["run"]


def test_untrusted_text_goes_nowhere_but_into_conditions() -> None:
    for step in ALL_STEPS:
        values = [*step.get("with", {}).values(), *step.get("env", {}).values()]
        assert not any(UNTRUSTED.search(str(value)) for value in values), step


@pytest.mark.parametrize("name", FLOWS)
def test_rights_are_given_job_by_job(name: str) -> None:
    body = flow(name)
    assert body["permissions"] == {}
    assert all(job["permissions"] for job in body["jobs"].values())
    assert all(job["timeout-minutes"] <= 360 for job in body["jobs"].values())
    assert body["concurrency"]["cancel-in-progress"] is False


@pytest.mark.parametrize(
    ("name", "job"), [("fibreflow-ticket", "work"), ("fibreflow-nightly", "run")]
)
def test_the_job_with_the_agent_can_write_nothing(name: str, job: str) -> None:
    assert set(flow(name)["jobs"][job]["permissions"].values()) == {"read"}


@pytest.mark.parametrize(
    ("name", "job", "rights"),
    [
        ("fibreflow-ticket", "write", {"contents", "issues", "pull-requests"}),
        ("fibreflow-nightly", "push", {"contents"}),
    ],
)
def test_the_job_that_writes_has_no_model(name: str, job: str, rights: set[str]) -> None:
    body = flow(name)["jobs"][job]
    assert set(body["permissions"]) == rights
    assert "secrets." not in str(body)


def test_tickets_are_worked_on_one_at_a_time_each() -> None:
    assert "github.event.issue.number" in flow("fibreflow-ticket")["concurrency"]["group"]


@pytest.mark.parametrize("name", FLOWS)
def test_strangers_code_is_never_checked_out(name: str) -> None:
    body = flow(name)
    triggers = body[True]  # YAML 1.1 reads `on` so
    assert not {"pull_request_target", "workflow_run", "pull_request"} & set(triggers)
    for step in steps(body):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
            assert "head" not in str(step["with"])


def test_the_sandbox_isolates_on_ubuntu() -> None:
    assert any("apparmor_restrict_unprivileged_userns=0" in s.get("run", "") for s in ALL_STEPS)


def test_zizmor_finds_nothing() -> None:
    tool = Path(sys.executable).parent / "zizmor"
    if not tool.exists():
        pytest.skip("zizmor is not installed")
    paths = [f".github/workflows/{name}.yml" for name in FLOWS]
    done = subprocess.run(
        [tool, "--offline", "--no-progress", *paths, "action.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
