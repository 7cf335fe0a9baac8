"""Kill the harness anywhere: the attempt ends the same, and no answer is paid for twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.transcript import NAME, Transcript
from harness.ports import ModelReply, ModelRequest
from orchestrator.values import AttemptResult, Usage
from tests.harness.agents.workbench import (
    KEY,
    FolderSandbox,
    ScriptModel,
    Seen,
    StepClock,
    bash,
    call,
    submit,
    task,
    text,
)

STEPS = [
    [bash("echo 0 > f0")],
    [bash("echo 1 > f1"), call("edit", command="create", path="f2", text="2\n"),
     bash("echo 3 > f3")],
    [],  # says something and calls nothing
    [call("edit", command="create", path="f4", text="4\n")],
    [submit("all five")],
]  # fmt: skip
FILES = {f"f{n}": f"{n}\n" for n in range(5)}


class PlanModel(ScriptModel):
    """Goes through the steps; repeats the calls that were interrupted. Knows only the request."""

    async def reply(self, request: ModelRequest) -> ModelReply:
        self.requests.append(request)
        content = self._next(request)
        for n, block in enumerate(content):
            if block["type"] == "tool_use":
                block["id"] = f"t{request.turn}-{n}"
        return ModelReply(tuple(content), "tool_use", "m", Usage(10, 5), 0.25)

    def _next(self, request: ModelRequest) -> list[dict]:
        blocks = [b for m in request.messages for b in m["content"]]
        fine = {b["tool_use_id"] for b in blocks if b["type"] == "tool_result"} - {
            b["tool_use_id"] for b in blocks if b.get("is_error")
        }
        done = [b["input"] for b in blocks if b["type"] == "tool_use" and b["id"] in fine]
        spoken = any(b.get("text") == "I think." for b in blocks)
        for step in STEPS:
            left = [dict(c) for c in step if c["input"] not in done]
            if left or (not step and not spoken):
                return left or [text("I think.")]
        raise AssertionError("asked after the end")


async def run(folder: Path) -> tuple[AttemptResult, PlanModel, FolderSandbox, Seen]:
    model, sandbox, seen = PlanModel(), FolderSandbox(folder / "work"), Seen()
    agent = BuiltinAgent(model, StepClock())
    done = await agent.work(task(folder / "log"), sandbox, seen.observer())
    return done, model, sandbox, seen


def cuts(data: bytes) -> Iterator[bytes]:
    """The transcript as a crash may leave it: after each line, in it, and just before its end."""
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines):
        before = b"".join(lines[:number])
        yield before
        yield before + line[: len(line) // 2]
        yield before + line[:-1]
    yield data


@pytest.fixture
async def whole(tmp_path) -> bytes:
    await run(tmp_path / "whole")
    return (tmp_path / "whole" / "log" / NAME).read_bytes()


def facts(data: bytes, kind: str) -> list[dict]:
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    return [line for line in map(json.loads, lines) if line["type"] == kind]


@pytest.mark.parametrize("ahead", [0, 1])
async def test_a_crash_at_any_byte_boundary_changes_nothing(tmp_path, whole, ahead):
    """`ahead`: how many effects happened whose result was not written down any more."""
    for number, data in enumerate(cuts(whole)):
        folder = tmp_path / str(number)
        (folder / "log").mkdir(parents=True)
        (folder / "log" / NAME).write_bytes(data)
        (folder / "work").mkdir()
        results, replies = facts(data, "results"), facts(data, "reply")
        effects = min(len(results) + (ahead if replies else 0), 5)
        for n in range(effects):
            (folder / "work" / f"f{n}").write_text(f"{n}\n")

        done, model, sandbox, _ = await run(folder)

        assert (done.ending, done.reason) == ("submitted", "all five"), number
        assert sandbox.files() == FILES, number
        asked = [request.turn for request in model.requests]
        assert asked == list(range(len(replies) + 1, done.turns + 1)), number
        assert done.usage == Usage(10 * done.turns, 5 * done.turns)
        assert done.cost_usd == pytest.approx(0.25 * done.turns)
        lines = (folder / "log" / NAME).read_bytes().splitlines()
        assert all(json.loads(line) for line in lines), number
        assert len(facts(b"\n".join(lines) + b"\n", "end")) == 1


async def test_what_is_said_to_the_model_after_a_crash(tmp_path, whole):
    """Of three parallel calls none was answered: one was interrupted, the others never began."""
    lines = whole.splitlines(keepends=True)
    at = [n for n, line in enumerate(lines) if b'"results"' in line][1]
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / NAME).write_bytes(b"".join(lines[:at]) + b'{"type":"resu')
    _, model, _, _ = await run(tmp_path)
    first, second, third = model.requests[0].messages[-1]["content"]
    assert first["is_error"] and "its files may be half done" in first["content"][0]["text"]
    for answer in (second, third):
        assert answer["is_error"] and "not run" in answer["content"][0]["text"]
    notes = Transcript(tmp_path / "log" / NAME).of("note")
    assert [note["kind"] for note in notes] == ["cut", "resumed", "reminded"]
    assert notes[0]["bytes"] == len(b'{"type":"resu')


@pytest.mark.parametrize("left", [None, "", "half", "2\n"])
async def test_a_file_that_was_being_written_is_written_again_without_asking(tmp_path, whole, left):
    """However far it had come; the call after it, which never began, is run then. A model that
    does not look at what it is told would otherwise hand in work that lacks the file."""
    lines = whole.splitlines(keepends=True)
    at = [n for n, line in enumerate(lines) if b'"results"' in line][2]
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / NAME).write_bytes(b"".join(lines[:at]))
    (tmp_path / "work").mkdir()
    for name, said in (("f0", "0\n"), ("f1", "1\n"), ("f2", left)):
        if said is not None:
            (tmp_path / "work" / name).write_text(said)
    done, model, sandbox, _ = await run(tmp_path)
    assert done.ending == "submitted"
    assert sandbox.files() == FILES
    assert not any("is_error" in block for block in model.requests[0].messages[-1]["content"])
    assert model.requests[0].turn == 3


async def test_a_resumed_conversation_repeats_its_beginning_byte_by_byte(tmp_path, whole):
    first = facts(whole, "start")[0]["first"]
    lines = whole.splitlines(keepends=True)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / NAME).write_bytes(b"".join(lines[:3]))
    changed = task(tmp_path / "log", lessons=("learned since",))
    model = PlanModel()
    await BuiltinAgent(model, StepClock()).work(
        changed, FolderSandbox(tmp_path / "work"), Seen().observer()
    )
    assert model.requests[0].messages[0] == first


async def test_seconds_go_on_where_they_were(tmp_path):
    path = tmp_path / "log" / NAME
    facts = {"first": {"role": "user", "content": [text("go")]}, "system": []}
    Transcript(path).write("start", time=1, elapsed=595, **facts)
    clock = StepClock(step=1)
    done = await BuiltinAgent(ScriptModel([bash("true")]), clock).work(
        task(tmp_path / "log"), FolderSandbox(tmp_path / "work"), Seen().observer()
    )
    assert done.ending == "limit" and "minutes" in done.reason
    assert done.turns < 5


def test_a_line_in_the_middle_that_is_no_json_ends_what_is_known(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b'{"type":"note","elapsed":1}\n[1]\n{"type":"note","elapsed":2}\n')
    transcript = Transcript(path)
    assert len(transcript.lines) == 1 and transcript.cut == 32
    # Looking changes nothing; the first write does, and its writer has noted the cut.
    transcript.write("note", time=1, elapsed=3)
    assert path.read_bytes() == (
        b'{"type":"note","elapsed":1}\n{"type":"note","time":1,"elapsed":3}\n'
    )


def test_words_of_any_kind_survive(tmp_path):
    path = tmp_path / NAME
    words = "snow \u2603, half a pair \ud800, line\u2028end\r\n"
    Transcript(path).write("note", time=1, elapsed=0, text=words)
    assert Transcript(path).lines[0]["text"] == words


def test_nothing_is_created_before_the_first_line(tmp_path):
    transcript = Transcript(tmp_path / "log" / NAME)
    assert transcript.result(KEY) is None and not (tmp_path / "log").exists()
