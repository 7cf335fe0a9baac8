"""Skills are read by their format, found by name, and run without a model, here and inside."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.tools import TOOLS, Toolbox
from harness.runner import main
from harness.skills import SHIPPED, Skill, load_all, of_workspace, offered
from orchestrator.errors import InputError
from tests.harness.agents.workbench import (
    FolderSandbox,
    ScriptModel,
    Seen,
    StepClock,
    call,
    submit,
    task,
)

NAMES = [
    "dependency-audit", "log-triage", "postgres-freshness", "repo-status", "test-runner",
    "vps-monitor",
]  # fmt: skip
INSIDE = ["dependency-audit", "log-triage", "repo-status", "test-runner"]


def skill_file(root: Path, name: str, text: str, script: str = "print('hi')\n") -> Path:
    folder = root / name
    (folder / "scripts").mkdir(parents=True)
    (folder / "SKILL.md").write_text(text)
    (folder / "scripts" / "run.py").write_text(script)
    return folder


def run(name: str, *args: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    skill = load_all(SHIPPED)[name]
    return subprocess.run(
        skill.argv([str(a) for a in args]),
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "-C", folder, *names, *words], check=True, capture_output=True)


def test_six_come_with_the_program_and_some_may_be_run_by_agents():
    found = load_all(SHIPPED)
    assert list(found) == NAMES
    assert [s.name for s in found.values() if s.sandbox] == INSIDE
    assert [s.name for s in found.values() if s.packages] == ["postgres-freshness"]
    assert all(s.script.is_file() and s.body for s in found.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\n", "front matter"),
        ("---\nname: other\ndescription: d\n---\n", "the folder's name"),
        ("---\nname: X_y\ndescription: d\n---\n", "lower case"),
        ("---\nname: mine\n---\n", "1 to 1024 characters"),
        (f"---\nname: mine\ndescription: {'d' * 1025}\n---\n", "1 to 1024 characters"),
        ("---\nname: [\n---\n", "cannot be read"),
        ("---\n- a\n---\n", "front matter"),
    ],
)
def test_what_breaks_the_format_is_named(tmp_path, text, words):
    skill_file(tmp_path, "mine", text)
    with pytest.raises(InputError, match=words) as caught:
        load_all(tmp_path)
    assert "SKILL.md" in str(caught.value)


def test_a_workspaces_own_skill_comes_before_the_shipped(tmp_path):
    skill_file(tmp_path / "skills", "repo-status", "---\nname: repo-status\ndescription: o\n---\n")
    found = of_workspace(tmp_path)
    assert found["repo-status"].description == "o" and list(found) == NAMES


def test_the_command_lists_shows_and_runs_with_the_scripts_exit_code(tmp_path, capfd):
    skill_file(tmp_path / "skills", "mine", "---\nname: mine\ndescription: Odd.\n---\nBody.\n",
               "import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")  # fmt: skip
    at = ["skill", "--workspace", str(tmp_path)]
    assert main([*at, "run", "mine", "--json", "a b"]) == 7
    assert capfd.readouterr().out == "['--json', 'a b']\n"
    assert main([*at, "list"]) == 0 and "mine                 Odd." in capfd.readouterr().out
    assert main([*at, "show", "mine"]) == 0 and capfd.readouterr().out == "Body.\n"
    assert main([*at, "run", "none"]) == 2
    assert "'none' is not known; there are dependency-audit" in capfd.readouterr().err


# ------------------------------------------------------------------- each of them


def test_repo_status_tells_what_git_knows(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a").write_text("1")
    (tmp_path / "with space").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Begin here")
    (tmp_path / "a").write_text("2")
    (tmp_path / "with space").write_text("2")
    git(tmp_path, "add", "with space")
    (tmp_path / "new").write_text("")
    done = run("repo-status", tmp_path, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["branch"], found["changed"], found["staged"], found["untracked"]) == (
        "main", ["a"], ["with space"], ["new"],
    )  # fmt: skip
    assert found["latest"][0].endswith("Begin here")
    assert "untracked (1): new" in run("repo-status", tmp_path).stdout


def test_repo_status_finds_a_conflict_and_what_is_no_repository(tmp_path):
    assert run("repo-status", tmp_path).returncode == 2
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a").write_text("main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "main")
    git(tmp_path, "checkout", "-qb", "other")
    (tmp_path / "a").write_text("other")
    git(tmp_path, "commit", "-qam", "other")
    git(tmp_path, "checkout", "-q", "main")
    (tmp_path / "a").write_text("third")
    git(tmp_path, "commit", "-qam", "third")
    subprocess.run(
        ["git", "-C", tmp_path, "merge", "-q", "other"], capture_output=True, check=False
    )
    done = run("repo-status", tmp_path)
    assert done.returncode == 1 and "conflicts (1): a" in done.stdout


def test_log_triage_counts_kinds_and_not_lines(tmp_path):
    log = tmp_path / "app.log"
    log.write_text("".join(f"ERROR request {n} id deadbeef{n:04d} failed\nok\n" for n in range(30))
                   + "WARN disk 91% full\n")  # fmt: skip
    done = run("log-triage", log)
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first.startswith("error x30 ") and ":1 to " in first
    assert second.startswith("warning x1 ")
    assert run("log-triage", stdin="all is well\n").stdout == "no error and no warning\n"
    assert run("log-triage", tmp_path / "none").returncode == 2


def test_dependency_audit_names_what_is_loose(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["a>=1,<2", "b>=1", "c", "d @ https://x/d.whl"]\n'
    )
    (tmp_path / "package.json").write_text('{"dependencies": {"e": "*", "f": "^1.2.0"}}')
    (tmp_path / "requirements.txt").write_text("# none\ng==1\ng==1\n")
    done = run("dependency-audit", tmp_path, "--json")
    found = {(f["file"], f["dependency"]): f["problem"] for f in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found == {
        ("pyproject.toml", "b"): "no upper bound",
        ("pyproject.toml", "c"): "no bound at all",
        ("pyproject.toml", "d"): "taken from a URL",
        ("pyproject.toml", ""): "no lock file",
        ("package.json", "e"): "any version",
        ("package.json", ""): "no lock file",
        ("requirements.txt", "g"): "declared twice",
    }
    (tmp_path / "empty").mkdir()
    assert run("dependency-audit", tmp_path / "empty").returncode == 0


@pytest.mark.long
def test_test_runner_names_the_failing_and_ends_the_endless(tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_x.py").write_text("def test_a(): pass\ndef test_b(): assert 1 == 2\n")
    done = run("test-runner", tmp_path, "--json", "--", "-p", "no:cacheprovider")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["exit"] == 1
    assert found["failed"] == ["tests/test_x.py::test_b"]
    (tests / "test_x.py").write_text("import time\ndef test_a(): time.sleep(60)\n")
    done = run("test-runner", tmp_path, "--timeout", "1", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["timed_out"] is True
    (tmp_path / "none").mkdir()
    assert run("test-runner", tmp_path / "none").returncode == 2


def test_vps_monitor_alarms_beyond_its_thresholds():
    calm = run("vps-monitor", "--load", "1e9", "--memory", "101", "--disk", "101", "--json")
    found = json.loads(calm.stdout)
    assert calm.returncode == 0 and found["alarms"] == [] and found["cpus"] >= 1
    assert run("vps-monitor", "--memory", "0").returncode == 1
    assert run("vps-monitor", "--nonsense").returncode == 2


def test_postgres_freshness_says_when_nothing_can_be_measured():
    dsn = "host=127.0.0.1 port=1 dbname=x user=x"
    done = run("postgres-freshness", "t", "c", "--max-age", "60", "--dsn", dsn)
    assert done.returncode == 2 and "cannot be measured" in done.stderr


# ------------------------------------------------------------------ in the loop


async def test_the_loop_offers_opens_and_runs_skills_in_the_sandbox(tmp_path):
    opened = call("skill", name_id="1", command="open", skill="log-triage")
    ran = call("skill", name_id="2", command="run", skill="log-triage", args=["app.log"])
    bad = call("skill", name_id="3", command="run", skill="vps-monitor")
    worse = call("skill", name_id="4", command="run", skill="log-triage", args=[1])
    model = ScriptModel([opened, ran, bad, worse], [submit()])
    sandbox, seen = FolderSandbox(tmp_path / "work"), Seen()
    (tmp_path / "work" / "app.log").write_text("ERROR 17\n")
    agent = BuiltinAgent(model, StepClock(), skills=await offered(tmp_path))
    done = await agent.work(task(tmp_path / "log"), sandbox, seen.observer())
    assert done.ending == "submitted"
    names = [tool["name"] for tool in model.requests[0].tools]
    assert names == ["bash", "edit", "skill", "submit"]
    assert all(name in model.requests[0].tools[2]["description"] for name in INSIDE)
    said = [block["content"][0]["text"] for block in model.requests[1].messages[-1]["content"]]
    assert said[0].startswith("# What a log complains about")
    assert "error x1 (app.log:1): ERROR 17" in said[1] and "[exit status 1]" in said[1]
    assert "`skill` one of dependency-audit" in said[2] and "must be text" in said[3]
    assert seen.commands[0] == ("skill log-triage app.log", 1)
    assert sandbox.files() == {"app.log": "ERROR 17\n"}


async def test_without_skills_there_is_no_such_tool(tmp_path):
    toolbox = Toolbox(FolderSandbox(tmp_path), Seen().observer(), StepClock())
    block = await toolbox.run(call("skill", command="open", skill="x"), 10)
    assert "there is no tool 'skill'" in block["content"][0]["text"]
    assert [tool["name"] for tool in TOOLS] == ["bash", "edit", "submit"]


def test_a_script_starts_without_site_packages_unless_it_needs_some():
    plain = Skill("a", "d", "", Path("x"))
    assert plain.argv(["b"]) == [sys.executable, "-I", "-S", "x/scripts/run.py", "b"]
    assert Skill("a", "d", "", Path("x"), packages=True).flags == ("-I",)


def test_the_wheel_has_every_file_of_every_skill():
    """What is packaged is a link to `skills`, which is also where the program looks."""
    root = Path(__file__).resolve().parents[2]
    data = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    patterns = data["tool"]["setuptools"]["package-data"]["harness"]
    packed = {p.resolve() for pattern in patterns for p in (root / "harness").glob(pattern)}
    assert root / "skills" == SHIPPED
    for skill in load_all(SHIPPED).values():
        files = {p for p in skill.folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}
        assert files and files <= packed
