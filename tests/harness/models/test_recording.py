"""A run's transcripts become recordings, and a recording replays its attempt to the same end."""

from dataclasses import replace

import pytest

from harness.agents.loop import BuiltinAgent
from harness.models.recorded import RecordedModel
from harness.models.recording import write
from harness.ports import ModelReply
from orchestrator.errors import InputError
from orchestrator.values import Usage
from tests.harness.agents.workbench import (
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


async def test_a_run_that_asked_nobody_is_told_so(tmp_path):
    (tmp_path / "run-1").mkdir()
    with pytest.raises(InputError, match="has asked a model"):
        write(tmp_path / "run-1", tmp_path / "recordings")
    assert not (tmp_path / "recordings").exists()
