"""A run's transcripts become recordings, and a recording replays its attempt to the same end."""

from dataclasses import replace

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.prompts import feature_section
from harness.agents.transcript import NAME, Transcript, reply_facts
from harness.models.recorded import RecordedModel, load
from harness.models.recording import make_folder, write
from harness.ports import ModelReply, ModelRequest
from orchestrator.errors import InputError
from orchestrator.values import Usage
from tests.harness.agents.workbench import (
    FEATURE,
    KEY,
    FolderSandbox,
    ScriptModel,
    Seen,
    StepClock,
    bash,
    submit,
    task,
    text,
)


async def test_a_recorded_attempt_is_replayed_with_its_usage_and_cost(tmp_path):
    run = tmp_path / "run-1"
    attempt = run / KEY.feature / KEY.name
    usage = Usage(100, 20, 3_000, 5)
    said = [
        ModelReply((text("so: é"), bash("echo 1 > a")), "tool_use", "real-1", usage, 0.5),
        ModelReply((submit("made"),), "tool_use", "real-1", usage, 0.25),
    ]
    first = await BuiltinAgent(ScriptModel(*said), StepClock()).work(
        task(attempt), FolderSandbox(tmp_path / "one"), Seen().observer()
    )
    assert write(run, tmp_path / "recordings") == 1
    model = RecordedModel(tmp_path / "recordings")
    again = await BuiltinAgent(model, StepClock()).work(
        task(tmp_path / "again"), FolderSandbox(tmp_path / "two"), Seen().observer()
    )
    assert again == replace(first, seconds=again.seconds)
    assert (again.usage, again.cost_usd) == (usage + usage, 0.75)
    assert model.source == "recorded"
    assert (tmp_path / "two" / "a").read_text() == "1\n"


def request(turn: int) -> ModelRequest:
    return ModelRequest(KEY, turn, "real-1", (), (), ())


async def test_what_is_unknown_stays_so(tmp_path):
    """Another model said the second turn, nobody knows what it used, and a third was lost."""
    transcript = Transcript(tmp_path / "run-1" / KEY.feature / KEY.name / NAME)
    first = {"role": "user", "content": [{"type": "text", "text": feature_section(FEATURE)}]}
    at = {"time": 0.0, "elapsed": 0.0}
    transcript.write("start", **at, first=first)
    said = [
        ModelReply((text("\ud800 \x00 é\u2028"),), "end_turn", "real-1", Usage(1), 0.5),
        ModelReply((text("b"),), "end_turn", "real-2", None, None),
        ModelReply((text("c"),), "end_turn", "real-1", Usage(1), 0.5),
    ]
    for turn, reply in enumerate(said, 1):
        transcript.write("reply", **at, **reply_facts(reply, request(turn), 0.0))
    transcript.write("note", **at, kind="lost", turn=3)
    assert write(tmp_path / "run-1", tmp_path / "recordings") == 1
    found = load(tmp_path / "recordings" / KEY.feature / f"{KEY.name}.yaml").turns
    assert [(turn.usage, turn.cost_usd) for turn in found] == [
        (Usage(1), 0.5), (None, None), (Usage(1), None)
    ]  # fmt: skip
    assert [turn.model for turn in found] == ["", "real-2", ""]
    assert found[0].content == (text("? \x00 é\u2028"),)


def test_a_run_that_asked_nobody_leaves_no_recording(tmp_path):
    (tmp_path / "run-1").mkdir()
    assert write(tmp_path / "run-1", tmp_path / "recordings") == 0
    assert not (tmp_path / "recordings").exists()


def test_a_folder_that_cannot_be_made_is_told_before_the_run(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written there"):
        make_folder(tmp_path / "file" / "recordings")
