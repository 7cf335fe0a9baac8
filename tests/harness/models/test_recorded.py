"""Recordings play as written, and refuse every question they were not made for."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.prompts import feature_section, section_digest
from harness.models.recorded import RecordedModel, load
from orchestrator.errors import RecordingMismatchError
from orchestrator.values import AttemptKey, AttemptLimits, AttemptResult, Usage
from tests.harness.agents.workbench import FEATURE, FolderSandbox, Seen, StepClock, task

ROOT = Path(__file__).resolve().parents[3]
DIGEST = section_digest(feature_section(FEATURE))

GOOD = """\
source: scripted
by: a test
task: {digest}
turns:
  - content:
      - text: "I look first."
      - {{tool: bash, command: "echo found"}}
  - expect: "^found$"
    content:
      - tool: edit
        command: create
        path: hello.txt
        text: |
          hello
      - {{type: tool_use, name: bash, input: {{command: "cat hello.txt"}}}}
  - expect: "hello"
    content:
      - {{tool: submit, summary: "made hello.txt"}}
"""


def put(folder: Path, text: str = GOOD, name: str = "r1-a01.yaml", digest: str = DIGEST) -> Path:
    path = folder / "recordings" / "greet" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(digest=digest))
    return path


async def play(folder: Path, **options) -> tuple[AttemptResult, FolderSandbox]:
    sandbox = FolderSandbox(folder / "work")
    model = RecordedModel(folder / "recordings")
    done = await BuiltinAgent(model, StepClock()).work(
        task(folder / "log", **options), sandbox, Seen().observer()
    )
    await model.close()
    return done, sandbox


async def test_a_recording_plays_to_its_end(tmp_path):
    put(tmp_path)
    done, sandbox = await play(tmp_path)
    assert (done.ending, done.reason, done.turns) == ("submitted", "made hello.txt", 3)
    assert (done.cost_usd, done.usage) == (0.0, Usage())
    assert sandbox.files() == {"hello.txt": "hello\n"}


async def refused(folder: Path, **options) -> str:
    done, _ = await play(folder, **options)
    assert done.ending == "error"
    assert done.reason.startswith("RecordingMismatchError: ")
    return done.reason


async def test_another_task_is_refused_with_the_remedy(tmp_path):
    path = put(tmp_path)
    reason = await refused(tmp_path, feature=replace(FEATURE, description="Write bye.txt."))
    assert str(path) in reason and DIGEST in reason and "scripts/stamp_recordings.py" in reason
    asked = section_digest(feature_section(replace(FEATURE, description="Write bye.txt.")))
    assert asked in reason


async def test_a_recording_that_was_never_stamped_is_refused(tmp_path):
    put(tmp_path, GOOD.replace("task: {digest}\n", ""))
    assert "(not stamped)" in await refused(tmp_path)


async def test_lessons_do_not_make_it_another_task(tmp_path):
    put(tmp_path)
    assert (await play(tmp_path, lessons=("x",)))[0].ending == "submitted"


async def test_an_unexpected_answer_is_refused(tmp_path):
    path = put(tmp_path, GOOD.replace('expect: "^found$"', 'expect: "^lost$"'))
    reason = await refused(tmp_path)
    assert f"{path}, turn 2" in reason and "'^lost$'" in reason and "found" in reason


async def test_a_question_beyond_the_last_turn_is_refused(tmp_path):
    put(tmp_path, GOOD.replace("tool: submit, summary", "tool: bash, command"))
    reason = await refused(tmp_path)
    assert "has 3 turns and was asked for turn 4" in reason


async def test_a_missing_recording_is_named(tmp_path):
    put(tmp_path)
    reason = await refused(tmp_path, key=AttemptKey("greet", 1, 2))
    assert str(tmp_path / "recordings" / "greet" / "r1-a02.yaml") in reason


async def test_any_serves_every_attempt_without_a_file_of_its_own(tmp_path):
    put(tmp_path, name="any.yaml")
    done, _ = await play(tmp_path, key=AttemptKey("greet", 2, 14))
    assert done.ending == "submitted"


async def test_the_last_turn_may_repeat_for_ever(tmp_path):
    loop = (
        "task: {digest}\nrepeat: true\n"
        "turns: [{{content: [{{tool: bash, command: 'echo x >> log; wc -l <log'}}]}}]"
    )
    put(tmp_path, loop)
    done, sandbox = await play(tmp_path, limits=AttemptLimits(turns=25, seconds=600))
    assert (done.ending, done.reason) == ("limit", "25 turns used")
    assert sandbox.files() == {"log": "x\n" * 25}


REAL = """\
source: recorded
by: run 2026-11-20
model: claude-haiku-5-5
task: {digest}
turns:
  - content: [{{type: tool_use, id: toolu_x, name: submit, input: {{summary: s}}}}]
    stop_reason: tool_use
    usage: {{input: 100, output: 20, cache_read: 3}}
    cost_usd: 0.002
"""


async def test_a_real_conversation_says_what_it_cost_then(tmp_path):
    put(tmp_path, REAL)
    done, _ = await play(tmp_path)
    assert (done.cost_usd, done.usage) == (0.002, Usage(100, 20, 3))
    assert RecordedModel(tmp_path / "recordings").source == "recorded"


def test_one_scripted_recording_makes_the_whole_scripted(tmp_path):
    put(tmp_path, REAL)
    put(tmp_path, name="r1-a02.yaml")
    model = RecordedModel(tmp_path / "recordings")
    assert model.source == "scripted" and model.model_id("opus") == "scripted-opus"
    assert RecordedModel(tmp_path / "none").source == "scripted"


def test_figures_of_a_scripted_recording_are_not_believed(tmp_path):
    path = put(tmp_path, REAL.replace("source: recorded", "source: scripted"))
    turn = load(path).turns[0]
    assert (turn.usage, turn.cost_usd) == (Usage(), 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turns: [",
        "[]",
        "turns: []",
        "turns: 3",
        "turns: [{content: [{}]}]",
        "turns: [{content: 5}]",
        "turns: [{expect: '(', content: []}]",
        "source: rumour\nturns: [{content: []}]",
        "source: recorded\nturns: [{usage: {inptu: 3}, content: []}]",
        "a: !!python/object/apply:os.system ['true']",
    ],
)
def test_a_broken_file_is_named(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(RecordingMismatchError, match=r"x\.yaml cannot be read"):
        load(path)


# --------------------------------------------------------------------- stamping

FEATURES = """\
{"version": 1, "features": [{"id": "greet", "description": "Write hello.txt.",
 "steps": ["make the file"], "acceptance": ["true"], "scope": ["*.txt"]}]}
"""


def stamp(folder: Path) -> "subprocess.CompletedProcess[str]":
    (folder / "feature_list.json").write_text(FEATURES)
    script = ROOT / "scripts" / "stamp_recordings.py"
    argv = [sys.executable, str(script), str(folder / "feature_list.json")]
    argv.append(str(folder / "recordings"))
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60, cwd=folder)


async def test_a_stamped_recording_plays_and_nothing_else_in_it_changed(tmp_path):
    path = put(tmp_path, digest="0" * 64)
    bare = put(tmp_path, GOOD.replace("task: {digest}\n", ""), name="r1-a02.yaml")
    done = stamp(tmp_path)
    assert done.returncode == 0, done.stderr
    assert path.read_text() == GOOD.format(digest=DIGEST)
    assert load(bare).task == DIGEST
    assert done.stdout.count(": stamped\n") == 2
    assert (await play(tmp_path))[0].ending == "submitted"
    assert stamp(tmp_path).stdout == ""


def test_a_recording_of_no_feature_is_pointed_out(tmp_path):
    put(tmp_path)
    (tmp_path / "recordings" / "gone").mkdir()
    (tmp_path / "recordings" / "gone" / "r1-a01.yaml").write_text("turns: []\n")
    done = stamp(tmp_path)
    assert done.returncode == 1 and "no feature 'gone'" in done.stdout
