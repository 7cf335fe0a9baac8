"""The demo's recordings as the built-in agent plays them, in a real sandbox."""

import subprocess

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.task import Observer, Task
from harness.models.recorded import RecordedModel
from harness.patches import export
from harness.ports import BaseSpec
from harness.record.clock import SystemClock
from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxUnavailableError
from orchestrator.values import AttemptKey, AttemptLimits
from tests.demo.attempts import (
    FEATURES,
    RECORDINGS,
    exam,
    git,
    needs,
    own_tests,
    repository,
    run_pytest,
)

LESSON = "FAILED tests/acceptance/test_process_probe.py::test_names_with_spaces_and_parentheses"


@pytest.mark.isolation
@pytest.mark.parametrize(
    ("name", "lessons", "ending", "turns"),
    [
        ("process-probe/r2-a03", (LESSON,), "submitted", 4),
        ("disk-probe/r1-a05", (), "submitted", 4),  # mends itself after a red exam
        ("disk-probe/r1-a01", (), "limit", 5),
    ],
)
async def test_the_agent_plays_them(name, lessons, ending, turns, tmp_path):
    result, patch, statuses = await agents_work(name, lessons, tmp_path)
    assert (result.ending, result.turns) == (ending, turns), result.reason
    if ending == "submitted":
        assert statuses[-1] == 0
        for path in own_tests(name):
            assert f"+++ b/{path}".encode() in patch
    else:
        assert patch == b""


@pytest.mark.isolation
@pytest.mark.parametrize("number", range(1, 6))
async def test_whoever_is_not_told_why_round_one_failed_fails_in_the_same_way(number, tmp_path):
    result, patch, _ = await agents_work(f"process-probe/r2-a0{number}", (), tmp_path)
    assert (result.ending, result.turns) == ("submitted", 3)
    repo = tmp_path / "repo"
    subprocess.run(["git", "apply"], cwd=repo, input=patch, check=True)
    outcome = run_pytest(repo, exam("process-probe"))
    assert [test.rpartition("::")[2] for test in outcome.failed] == [LESSON.rpartition("::")[2]]


async def agents_work(name, lessons, tmp_path):
    """Result, patch and exit statuses of one attempt, by the agent in a real sandbox."""
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
    return result, patch, statuses
