"""The workflow files are what their threat model says: pinned, least rights, nothing untrusted."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
    assert step["uses"] == "./" or re.fullmatch(r"[\w-]+(/[\w-]+)+@[0-9a-f]{40}", step["uses"])


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


@pytest.mark.parametrize(
    ("name", "job"),
    [("fibreflow-ticket", "ask"), ("fibreflow-ticket", "work"), ("fibreflow-nightly", "run")],
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


def test_work_and_secrets_come_after_the_question_who_may() -> None:
    """A queue of the whole workflow would be a stranger's as well: an event that begins nothing
    pushes a maintainer's that waits out of it."""
    body = flow("fibreflow-ticket")
    ask, work, write = (body["jobs"][name] for name in ("ask", "work", "write"))
    assert "concurrency" not in body
    assert "secrets." not in str(ask)
    assert not {"concurrency", "needs"} & set(ask)
    assert (work["needs"], write["needs"]) == ("ask", ["ask", "work"])
    for job in (work, write):
        assert "needs.ask.outputs.issue != ''" in job["if"]
        assert "needs.ask.outputs.issue" in job["concurrency"]["group"]
        assert (job["concurrency"]["cancel-in-progress"], job["concurrency"]["queue"]) == (
            False, "max",
        )  # fmt: skip
    assert flow("fibreflow-nightly")["concurrency"]["cancel-in-progress"] is False


def test_a_job_that_failed_is_told_of() -> None:
    condition = flow("fibreflow-ticket")["jobs"]["write"]["if"]
    assert condition.startswith("!cancelled()")
    assert "needs.work.result != 'success'" in condition


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


def tool(name: str) -> Path:
    path = Path(sys.executable).parent / name
    if not path.exists():
        pytest.skip(f"{name} is not installed")
    return path


def test_zizmor_finds_nothing() -> None:
    paths = [f".github/workflows/{name}.yml" for name in FLOWS]
    done = subprocess.run(
        [tool("zizmor"), "--offline", "--no-progress", *paths, "action.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    given = [*(ROOT / ".github" / "workflows").glob("*.yml")]
    wrong = tmp_path / "wrong.yml"
    text = (ROOT / ".github" / "workflows" / "fibreflow-ticket.yml").read_text()
    wrong.write_text(text.replace("needs.ask.outputs.issue != ''", "needs.aks.outputs.issue != ''"))
    for paths, code in ((given, 0), ([wrong], 1)):
        done = subprocess.run(
            [tool("actionlint"), "-no-color", *paths],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr


class Night:
    """A repository, its origin, and what the night's first job left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = folder / "origin.git"
        self.checkout = folder / "checkout"
        self.git("init", "-q", "--bare", "-b", "main", str(self.origin), at=folder)
        self.git("init", "-q", "-b", "main", str(self.checkout), at=folder)
        self.git("remote", "add", "origin", str(self.origin))
        self.base = self.commit("a.py")
        self.git("push", "-q", "origin", "main")

    def git(self, *args: str, at: Path | None = None) -> str:
        words = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *args]
        return subprocess.run(
            words, cwd=at or self.checkout, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, name: str) -> str:
        (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (self.checkout / name).write_text(name)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", name)
        return self.git("rev-parse", "HEAD")

    def bundled(self, *names: str) -> str:
        """The commit that the night ended with: these files on the base."""
        self.git("checkout", "-q", "-B", "autopilot", self.base)
        commit = [self.commit(name) for name in names][-1]
        (self.folder / "night").mkdir(exist_ok=True)
        self.git("bundle", "create", "-q", str(self.folder / "night/night.bundle"), "autopilot")
        self.git("checkout", "-q", "main")
        self.git("branch", "-q", "-D", "autopilot")
        return commit

    def push(self) -> tuple[int, str]:
        """The exit code of the second job's command, and the branch at the origin after it."""
        (command,) = (s["run"] for s in flow("fibreflow-nightly")["jobs"]["push"]["steps"]
                      if "run" in s)  # fmt: skip
        script = self.folder / "push.sh"
        script.write_text(command)
        env = {**os.environ, "RUNNER_TEMP": str(self.folder), "GITHUB_SHA": self.base,
               "BRANCH": "autopilot", "GITHUB_TOKEN": "x"}  # fmt: skip
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            cwd=self.checkout, env=env, capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode, self.git(
            "for-each-ref", "--format=%(objectname)", "refs/heads/autopilot", at=self.origin
        )


def test_the_night_moves_its_branch_forward_alone(tmp_path: Path) -> None:
    night = Night(tmp_path)
    for name in (".github/workflows/x.yml", ".github/workflows/ü.yml", ".GitHub/x"):
        night.bundled("b.py", name)
        assert night.push() == (1, ""), name
    first = night.bundled("b.py")
    assert night.push() == (0, first)
    night.bundled("c.py")  # not a continuation of what is there
    assert night.push() == (1, first)


def test_what_the_action_installs_is_what_the_project_asks_for() -> None:
    rows = (ROOT / "action-requirements.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+ --hash=sha256:[0-9a-f]{64}", row) for row in rows)
    locked = dict(row.partition(" ")[0].split("==") for row in rows)
    names = {canonicalize_name(name): version for name, version in locked.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        wanted = Requirement(text)
        found = names.get(canonicalize_name(wanted.name), "")
        assert found and found in wanted.specifier, f"{text}: python3.12 scripts/lock_action.py"
