"""Whole conversations by the real SDK with a local server, whose faults the loop comes through."""

import json

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.transcript import NAME, Transcript
from harness.models.anthropic_api import AnthropicModel
from orchestrator import errors as e
from tests.emulators import messages_api as api
from tests.emulators.messages_api import MessagesServer
from tests.harness.agents.workbench import FolderSandbox, Seen, StepClock, bash, submit, task
from tests.harness.models.test_anthropic_api import CALL, model_at

FAULTS = {
    1: api.rate_limited(3),
    2: api.overloaded(),
    4: api.cut(),
    5: api.malformed_call(),
    7: api.error_event(),
}


def builder(asked: dict) -> list[dict]:
    """Decides by the request alone: writes, checks, submits."""
    results = [b for m in asked["messages"] for b in m["content"] if b["type"] == "tool_result"]
    steps = [bash("echo 1 >> log"), bash("echo 2 >> log"), submit("both are in")]
    block = dict(steps[len(results)])
    del block["id"]
    return [block]


async def test_a_stormy_conversation_comes_to_the_same_end(tmp_path):
    async with MessagesServer(builder, faults=FAULTS) as server:
        model, seen, clock = model_at(server), Seen(), StepClock()
        sandbox = FolderSandbox(tmp_path / "work")
        done = await BuiltinAgent(model, clock, jitter=lambda: 0.5).work(
            task(tmp_path / "log"), sandbox, seen.observer()
        )
        await model.close()
    assert (done.ending, done.reason, done.turns) == ("submitted", "both are in", 3)
    assert sandbox.files() == {"log": "1\n2\n"}
    assert [error.split(":")[0] for error, _ in seen.retried] == [
        "ModelRateLimitedError",
        "ModelOverloadedError",
        "ModelTimeoutError",
        "ModelMalformedError",
        "ModelOverloadedError",
    ]
    assert clock.slept[0] >= 3
    assert done.cost_usd is None  # three replies had begun, and perhaps are charged
    notes = Transcript(tmp_path / "log" / NAME).of("note")
    assert [note["turn"] for note in notes if note["kind"] == "lost"] == [2, 2, 3]
    assert len(server.requests) == 8 and len(server.usages) == 3


async def test_no_reply_costs_more_than_was_reserved_for_it(tmp_path):
    """The server counts a token for every character it is sent, as dearly as it may."""

    def respond(asked: dict) -> dict:
        size = len(json.dumps([asked["system"], asked["tools"], asked["messages"]]))
        usage = {"input_tokens": 0, "cache_creation_input_tokens": size}
        return {"content": builder(asked), "usage": usage}

    asked: list[tuple[float, bool]] = []

    class Watched(AnthropicModel):
        async def reply(self, request):
            reply = await super().reply(request)
            asked.append((self.worst_case_usd(request) - reply.cost_usd, bool(request.input_bound)))
            return reply

    async with MessagesServer(respond) as server:
        model = Watched({"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k"})
        done = await BuiltinAgent(model, StepClock()).work(
            task(tmp_path / "log"), FolderSandbox(tmp_path / "work"), Seen().observer()
        )
        await model.close()
    assert done.ending == "submitted" and done.cost_usd > 0
    assert [bounded for _, bounded in asked] == [False, True, True]
    assert all(spare > 0 for spare, _ in asked)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (api.unauthorized(), e.ModelUnauthorizedError),
        (api.out_of_credit(), e.ModelQuotaExhaustedError),
    ],
)
async def test_what_stops_the_run_comes_out_of_the_loop(tmp_path, fault, error):
    async with MessagesServer(builder, faults={1: fault}) as server:
        model = model_at(server)
        with pytest.raises(error):
            await BuiltinAgent(model, StepClock()).work(
                task(tmp_path / "log"), FolderSandbox(tmp_path / "work"), Seen().observer()
            )
        await model.close()
    assert len(server.requests) == 1


async def test_a_prompt_too_long_is_shortened_until_it_fits(tmp_path):
    def respond(asked: dict):
        turns = sum(m["role"] == "assistant" for m in asked["messages"])
        if turns < 8:
            command = f"head -c 15000 /dev/zero | tr '\\0' x; echo {turns}"
            return [{**CALL, "input": {"command": command}}]
        return [{"type": "tool_use", "name": "submit", "input": {"summary": "ok"}}]

    faults = {9: api.too_long()}
    async with MessagesServer(respond, faults=faults) as server:
        model = model_at(server)
        done = await BuiltinAgent(model, StepClock()).work(
            task(tmp_path / "log"), FolderSandbox(tmp_path / "work"), Seen().observer()
        )
        await model.close()
    assert done.ending == "submitted"
    assert len(str(server.requests[9])) < len(str(server.requests[8])) * 0.6
