"""The demo's recordings are what they are meant to be, and all correct ones fit together.

The table says what each is meant to be. It lives here alone: nothing in the harness may know.
"""

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.prompts import feature_section, section_digest
from harness.agents.task import Observer, Task
from harness.models.recorded import RecordedModel, Recording, load
from harness.patches import export
from harness.ports import BaseSpec
from harness.record.clock import SystemClock
from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxUnavailableError
from orchestrator.features import parse
from orchestrator.values import AttemptKey, AttemptLimits, Feature

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "vps-health-agent"
SEED = DEMO / "seed"
RECORDINGS = DEMO / "recordings"
LIST = parse((ROOT / "feature_list.json").read_text("utf-8"), "feature_list.json")
FEATURES = {feature.id: feature for feature in LIST.features}

#: best: correct, clean, with tests that bite. good: correct. poor: correct, and badly written or
#: untested. hollow: correct, its own tests assert nothing. wrong: something else than asked.
#: broken: cannot be imported. tampers: edits the exam. skips: adds a conftest.py.
#: exits: ends the test process with 0. loops: never comes to an end.
LABELS = {
    "procfs-reader": {"r1": "poor wrong best good broken"},
    "alert-thresholds": {"r1": "wrong poor tampers best good"},
    "memory-probe": {"r1": "broken poor wrong good best"},
    "load-probe": {"r1": "exits good hollow best wrong"},
    "process-probe": {"r1": "wrong tampers loops skips wrong", "r2": "wrong good best good poor"},
    "disk-probe": {"r1": "loops wrong best poor good"},
    "snapshot": {"r1": "skips good best wrong poor"},
    "cli": {"r1": "wrong poor good broken best"},
    "http-health": {"r1": "tampers good wrong poor best"},
    "service": {"r1": "exits good wrong best poor"},
}
MEANT = {
    f"{feature}/{round_}-a{number:02d}": label
    for feature, rounds in LABELS.items()
    for round_, labels in rounds.items()
    for number, label in enumerate(labels.split(), start=1)
}
CORRECT = {"best", "good", "poor", "hollow"}
NAIVELY_GREEN = {"tampers", "skips", "exits"}


def by_label(*labels: str) -> list[str]:
    return [name for name, label in MEANT.items() if label in labels]


def correct_of(feature: str) -> list[str]:
    return [n for n in by_label(*CORRECT) if n.startswith(f"{feature}/")]


# ------------------------------------------------------------------- playing without an engine


def recording(name: str) -> Recording:
    return load(RECORDINGS / f"{name}.yaml")


def calls(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for turn in recording(name).turns:
        for block in turn.content:
            if block["type"] == "tool_use":
                yield block["name"], dict(block["input"])


def environment() -> dict[str, str]:
    """Of git and tests: nothing of this machine's configuration, identity or proxies."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # ours cost half of every run
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": "demo" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "demo@localhost" for who in ("AUTHOR", "COMMITTER")},
    }


def run(repo: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=repo,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def edit(repo: Path, command: str, path: str, **given: Any) -> None:
    target = repo / path
    if command == "create":
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(given["text"], encoding="utf-8")
    elif command == "replace":
        text = target.read_text(encoding="utf-8")
        assert text.count(given["old"]) == 1, f"{path}: {given['old']!r}"
        target.write_text(text.replace(given["old"], given["new"]), encoding="utf-8")
    else:
        assert command == "view", f"this player does not know {command}"
        assert target.is_file(), path


def play(name: str, repo: Path) -> None:
    """Carries out the edits, and the one kind of shell command that writes files."""
    for tool, given in calls(name):
        if tool == "edit":
            edit(repo, **given)
        elif tool == "bash" and "write_text" in given["command"]:
            done = run(repo, "sh", "-c", given["command"])
            assert done.returncode == 0, done.stderr


def repository(folder: Path, names: list[str]) -> Path:
    """The seed with these attempts' work, not committed."""
    repo = folder / "repo"
    shutil.copytree(SEED, repo)
    for name in names:
        play(name, repo)
    return repo


def needs(feature: str) -> list[str]:
    """One correct attempt for everything `feature` builds on, in order."""
    found: list[str] = []
    for on in FEATURES[feature].depends_on:
        found += [n for n in [*needs(on), correct_of(on)[0]] if n not in found]
    return found


# ------------------------------------------------------------------------------------ judging


@dataclass(frozen=True)
class Outcome:
    """What pytest said by its report. A run that ended before writing one has no tests."""

    exit: int
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    output: str = ""

    @property
    def green(self) -> bool:
        return self.exit == 0 and bool(self.passed) and not self.failed and not self.skipped


def run_pytest(repo: Path, *paths: str) -> Outcome:
    report = repo.parent / "report.xml"
    report.unlink(missing_ok=True)
    options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}")
    done = run(repo, sys.executable, "-m", "pytest", *options, *paths)
    outcomes: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in ET.parse(report).iter("testcase") if report.exists() else ():
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "skipped"
        outcomes["passed" if not kinds & {"failure", "error", "skipped"} else kind].append(
            f"{case.get('classname')}::{case.get('name')}"
        )
    lists = {kind: tuple(ids) for kind, ids in outcomes.items()}
    return Outcome(exit=done.returncode, output=done.stdout + done.stderr, **lists)


def exam(feature: str) -> str:
    (command,) = FEATURES[feature].acceptance
    return command.rpartition(" ")[2]


def restore_exam(repo: Path) -> None:
    """As verification does: the exam as it was, and nothing that pytest loads by itself."""
    shutil.rmtree(repo / "tests" / "acceptance")
    for path in repo.rglob("conftest.py"):
        path.unlink()
    shutil.copytree(SEED / "tests" / "acceptance", repo / "tests" / "acceptance")


def own_tests(name: str) -> list[str]:
    created = [g["path"] for tool, g in calls(name) if tool == "edit" and g["command"] == "create"]
    return [p for p in created if p.startswith("tests/test_")]


# -------------------------------------------------------------------------------------- tests


def test_every_recording_is_in_the_table():
    files = {f"{p.parent.name}/{p.stem}" for p in RECORDINGS.glob("*/*.yaml")}
    assert files == set(MEANT)
    assert set(LABELS) == set(FEATURES)


def test_every_exam_is_in_the_seed():
    exams = {exam(feature) for feature in FEATURES}
    found = {f"tests/acceptance/{p.name}" for p in (SEED / "tests/acceptance").glob("test_*.py")}
    assert exams == found


def test_every_recording_is_bound_to_its_feature_and_says_who_wrote_it():
    for name in MEANT:
        played = recording(name)
        feature: Feature = FEATURES[name.partition("/")[0]]
        assert played.source == "scripted", name
        assert "by: " in played.path.read_text("utf-8"), name
        assert played.task == section_digest(feature_section(feature)), f"{name}: stamp it anew"


def test_the_bad_ones_really_run():
    """A round may end after `quorum` correct attempts: no loop or forgery comes after them."""
    for name in by_label("loops", *NAIVELY_GREEN):
        feature, attempt = name.split("/")
        before = [n for n in correct_of(feature) if n < name and attempt[:2] in n]
        assert len(before) < LIST.defaults.quorum, name


def test_only_a_loop_has_no_end():
    for name, label in MEANT.items():
        submits = any(tool == "submit" for tool, _ in calls(name))
        assert submits == (label != "loops"), name
        assert recording(name).repeat == (label == "loops"), name


def test_round_two_exists_where_round_one_has_no_winner_and_only_there():
    for feature, rounds in LABELS.items():
        assert ("r2" in rounds) == (not CORRECT & set(rounds["r1"].split())), feature
        assert any(CORRECT & set(labels.split()) for labels in rounds.values()), feature


def test_round_two_answers_only_who_was_told_the_failing_test():
    first = [recording(f"process-probe/r2-a{n:02d}").turns[0].expect for n in range(1, 6)]
    text = (SEED / exam("process-probe")).read_text("utf-8")
    tests = re.findall(r"def (test_\w+)", text)
    for expect in first:
        assert expect is not None
        assert [t for t in tests if expect.search(t)] == ["test_names_with_spaces_and_parentheses"]
        assert not expect.search(feature_section(FEATURES["process-probe"]))


@pytest.mark.parametrize("name", by_label("wrong", "broken", "loops"))
def test_a_bad_attempt_fails_its_exam(name, tmp_path):
    feature = name.partition("/")[0]
    repo = repository(tmp_path, [*needs(feature), name])
    result = run_pytest(repo, exam(feature))
    assert result.failed, result.output
    label = MEANT[name]
    if label == "broken":
        assert not result.passed, result.passed
        assert "ModuleNotFoundError" in result.output
    if label == "wrong" and name.startswith("process-probe/"):
        # Exactly what the lesson of round two is about.
        assert [f.rpartition("::")[2] for f in result.failed] == [
            "test_names_with_spaces_and_parentheses"
        ]
    elif label == "wrong":
        assert result.passed, result.output


@pytest.mark.parametrize("name", by_label(*NAIVELY_GREEN))
def test_a_forgery_satisfies_the_exit_code_and_nothing_else(name, tmp_path):
    feature = name.partition("/")[0]
    repo = repository(tmp_path, [*needs(feature), name])
    assert run_pytest(repo, exam(feature)).exit == 0
    restore_exam(repo)
    result = run_pytest(repo, exam(feature))
    assert not result.green
    changed = {g["path"] for tool, g in calls(name) if tool == "edit" and g["command"] != "view"}
    if MEANT[name] == "skips":
        assert any(p.endswith("conftest.py") for p in changed)
    if MEANT[name] == "exits":
        assert result.exit == 0  # even then: only the missing or red report gives it away


def test_hollow_tests_pass_whatever_the_code_does_and_others_do_not(tmp_path):
    """Every feature that the table calls hollow, against its neighbours in the same feature."""
    for hollow in by_label("hollow"):
        feature = hollow.partition("/")[0]
        for name in [n for n in correct_of(feature) if MEANT[n] in {"hollow", "best"}]:
            repo = repository(tmp_path / name.replace("/", "-"), [*needs(feature), name])
            (module,) = (g for g in FEATURES[feature].scope if g.startswith("vps_health/"))
            (repo / module).write_text("def read(proc='/proc'):\n    return {'nonsense': 1}\n")
            result = run_pytest(repo, *own_tests(name))
            assert result.green == (name == hollow), result.output


def test_the_best_are_clean_and_tested_and_the_poor_are_not(tmp_path):
    findings: dict[str, int] = {}
    for name in by_label("best", "good", "poor", "hollow"):
        folder = tmp_path / name
        for tool, given in calls(name):
            if tool == "edit" and given["command"] == "create":
                edit(folder, **given)
    rules = ("--isolated", "--line-length=100", "--select=E,F,W,BLE")
    report = run(tmp_path, "ruff", "check", *rules, "--no-cache", "--output-format=json", ".")
    for found in json.loads(report.stdout):
        name = "/".join(Path(found["filename"]).relative_to(tmp_path).parts[:2])
        findings[name] = findings.get(name, 0) + 1
    for name in by_label("best"):
        assert findings.get(name, 0) == 0, name
        text = "".join((tmp_path / name / path).read_text() for path in own_tests(name))
        assert len(re.findall("assert |raises\\(", text)) >= 3, name
    for name in by_label("poor"):
        assert findings.get(name, 0) > 0, name
        assert own_tests(name) == []


def test_features_that_run_side_by_side_touch_no_common_file():
    touched: dict[str, set[str]] = {}
    for name in MEANT:
        paths = {g["path"] for tool, g in calls(name) if tool == "edit" and g["command"] != "view"}
        touched.setdefault(name.partition("/")[0], set()).update(paths)
    for one, other in itertools.combinations(touched, 2):
        assert not touched[one] & touched[other], (one, other)


# ------------------------------------------------------------------------ any order of merges


def git(repo: Path, *args: str) -> str:
    done = run(repo, "git", "-c", "init.defaultBranch=main", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def integrate(repo: Path, choice: dict[str, str], rng: random.Random) -> list[str]:
    """Starts and merges features in a random order that the dependencies allow; what was merged."""
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "seed")
    waiting, flying, merged = set(FEATURES), {}, []
    while waiting or flying:
        ready = sorted(f for f in waiting if set(FEATURES[f].depends_on) <= set(merged))
        if ready and (not flying or rng.random() < 0.6):
            feature = rng.choice(ready)
            waiting.remove(feature)
            git(repo, "checkout", "-q", "--detach", "main")
            play(choice[feature], repo)
            git(repo, "add", "-A")
            git(repo, "commit", "-qm", feature)
            flying[feature] = git(repo, "rev-parse", "HEAD")
        else:
            feature = rng.choice(sorted(flying))
            git(repo, "checkout", "-q", "main")
            git(repo, "cherry-pick", flying.pop(feature))
            merged.append(feature)
    return merged


# As many trials as the feature with most correct attempts has: each plays in at least one.
TRIALS = max(len(correct_of(feature)) for feature in FEATURES)


@pytest.mark.parametrize("trial", range(TRIALS))
def test_any_correct_attempts_in_any_order_build_the_service(trial, tmp_path):
    rng = random.Random(trial)
    choice = {}
    for feature in FEATURES:
        shuffled = random.Random(feature).sample(correct_of(feature), len(correct_of(feature)))
        choice[feature] = shuffled[trial % len(shuffled)]
    repo = tmp_path / "repo"
    shutil.copytree(SEED, repo)
    order = integrate(repo, choice, rng)
    result = run_pytest(repo, "tests")
    said = f"{choice}\n{order}\n{result.output}"
    assert result.green, said
    passed = {test.partition("::")[0] for test in result.passed}
    assert {exam(f).removesuffix(".py").replace("/", ".") for f in FEATURES} <= passed, said
    for name in choice.values():
        for path in own_tests(name):
            assert path.removesuffix(".py").replace("/", ".") in passed, said


# ------------------------------------------------------------ by the agent, in a real sandbox

LESSON = "FAILED tests/acceptance/test_process_probe.py::test_names_with_spaces_and_parentheses"


@pytest.mark.isolation
@pytest.mark.parametrize(
    ("name", "lessons", "ending", "turns"),
    [
        ("process-probe/r2-a03", (LESSON,), "submitted", 4),
        ("process-probe/r2-a03", (), "error", 0),  # not told why round one failed
        ("disk-probe/r1-a05", (), "submitted", 4),  # mends itself after a red exam
        ("disk-probe/r1-a01", (), "limit", 6),
    ],
)
async def test_the_agent_plays_them(name, lessons, ending, turns, tmp_path):
    feature, attempt = name.split("/")
    repo = repository(tmp_path, needs(feature))
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "base")
    key = AttemptKey(feature, int(attempt[1]), int(attempt[-2:]))
    limits = AttemptLimits(turns=6, seconds=120)
    (tmp_path / "log").mkdir()
    task = Task(key, FEATURES[feature], "haiku", limits, tmp_path / "log", lessons=lessons)
    statuses: list[int | None] = []
    observer = Observer(
        called=lambda *_: None,
        command=lambda _, status, __: statuses.append(status),
        retried=lambda *_: None,
    )
    provider = LocalSandboxProvider("demo", state=tmp_path / "state")
    try:
        base = await provider.prepare(BaseSpec(repo, git(repo, "rev-parse", "HEAD")))
        sandbox = await provider.create(base, "attempt")
        agent = BuiltinAgent(RecordedModel(RECORDINGS), SystemClock())
        result = await agent.work(task, sandbox, observer)
        patch = await export(sandbox, base)
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    finally:
        await provider.close()
    assert (result.ending, result.turns) == (ending, turns), result.reason
    if ending == "submitted":
        assert statuses[-1] == 0
        for path in own_tests(name):
            assert f"+++ b/{path}".encode() in patch
    else:
        assert patch == b""


def test_the_features_are_deep_and_wide_enough_to_show_something():
    def depth(feature: str) -> int:
        return 1 + max((depth(on) for on in FEATURES[feature].depends_on), default=0)

    assert max(map(depth, FEATURES)) >= 3
    assert sum(FEATURES[f].depends_on == ("procfs-reader",) for f in FEATURES) >= 4
