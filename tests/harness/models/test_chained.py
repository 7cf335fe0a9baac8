"""When a provider stays away the next of the chain goes on, in the same conversation."""

import json

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.transcript import NAME, Transcript
from harness.models.chained import ChainedModel
from harness.models.endpoints import FILE, live_model
from harness.models.gateway import Gateway
from harness.ports import ModelRequest
from orchestrator import errors as e
from orchestrator import events
from orchestrator.events import WarningGiven
from tests.emulators import messages_api as api
from tests.emulators.chat_completions import ChatServer
from tests.emulators.messages_api import MessagesServer
from tests.harness.agents.workbench import (
    KEY,
    FolderSandbox,
    Seen,
    StepClock,
    bash,
    submit,
    task,
    text,
)

STEPS = [bash("echo 1 >> log"), bash("echo 2 >> log"), submit("both are in")]


def done(asked: dict) -> int:
    """Results that the conversation has, in either dialect."""
    blocks = [b for m in asked["messages"] if isinstance(m["content"], list) for b in m["content"]]
    old = sum(block["type"] == "tool_result" for block in blocks)
    return old + sum(message["role"] == "tool" for message in asked["messages"])


def builder(asked: dict) -> list[dict]:
    block = dict(STEPS[done(asked)])
    del block["id"]
    return [block]


def chained(folder, first: MessagesServer, second: ChatServer, clock, **more) -> ChainedModel:
    spare = {"api": "openai", "base_url": second.base_url, "free": True, "max_tokens": 500, **more}
    tiers = {"haiku": ["claude-haiku-5-5", "spare/llama"]}
    (folder / FILE).write_text(json.dumps({"providers": {"spare": spare}, "tiers": tiers}))
    env = {"ANTHROPIC_BASE_URL": first.url, "ANTHROPIC_API_KEY": "k", "SPARE_KEY": "s"}
    model = live_model(folder, clock, env)
    assert isinstance(model, ChainedModel)
    return model


async def work(tmp_path, model, clock):
    notes: list[events.Event] = []
    seen, gateway = Seen(), Gateway(model, clock, note=notes.append)
    ended = await BuiltinAgent(model, clock, gateway=gateway, jitter=lambda: 0.5).work(
        task(tmp_path / "log"), FolderSandbox(tmp_path / "work"), seen.observer()
    )
    await gateway.close()
    said = [n.message for n in notes if isinstance(n, WarningGiven)]
    return ended, seen, said


async def test_a_provider_that_goes_away_is_stood_in_for_in_the_middle(tmp_path):
    """It answers once, then fails for good: half a minute of the usual patience, then the next."""

    def away(number: int, _asked: dict) -> api.Fault | None:
        return api.overloaded() if number > 1 else None

    clock = StepClock()
    async with MessagesServer(builder, faults=away) as first, ChatServer(builder) as second:
        model = chained(tmp_path, first, second, clock)
        ended, seen, said = await work(tmp_path, model, clock)
    assert (ended.ending, ended.turns) == ("submitted", 3)
    assert 30 <= sum(clock.slept) < 100
    assert [done(asked) for asked in second.requests] == [1, 2]
    assert all(asked["max_tokens"] == 500 for asked in second.requests)
    replies = Transcript(tmp_path / "log" / NAME).of("reply")
    assert [line["asked"] for line in replies] == ["claude-haiku-5-5", "spare/llama", "spare/llama"]
    assert replies[1]["cost_usd"] == 0.0 and replies[0]["cost_usd"] > 0
    assert len(said) == 1 and said[0].startswith("claude-haiku-5-5 rests for 1 min, spare/llama is")
    assert all(error.startswith("ModelOverloadedError") for error, _ in seen.retried)


async def test_a_used_up_credit_hands_over_at_once_and_one_529_does_not(tmp_path):
    clock = StepClock()
    faults = {1: api.overloaded(), 3: api.out_of_credit()}
    async with MessagesServer(builder, faults=faults) as first, ChatServer(builder) as second:
        model = chained(tmp_path, first, second, clock)
        ended, seen, _ = await work(tmp_path, model, clock)
        assert model.model_id("haiku") == "spare/llama"
        clock.time += 3600
        assert model.model_id("haiku") == "claude-haiku-5-5"
    assert ended.ending == "submitted"
    assert (len(first.requests), len(second.requests)) == (3, 2)
    assert [error.partition(":")[0] for error, _ in seen.retried] == [
        "ModelOverloadedError",
        "ModelQuotaExhaustedError",
    ]


async def test_with_nobody_left_the_last_error_stands(tmp_path):
    clock = StepClock()
    faults = dict.fromkeys(range(1, 200), api.overloaded())
    async with (
        MessagesServer(builder, faults=faults) as first,
        ChatServer(builder, faults=faults) as second,
    ):
        model = chained(tmp_path, first, second, clock)
        with pytest.raises(e.ModelOverloadedError, match="no attempt is used up"):
            await work(tmp_path, model, clock)
    assert first.requests and second.requests
    assert len(first.requests) + len(second.requests) <= 20


async def test_refusals_and_wrong_keys_are_not_carried_elsewhere(tmp_path):
    clock = StepClock()
    async with (
        MessagesServer(builder, faults={1: api.unauthorized()}) as first,
        ChatServer(builder) as second,
    ):
        model = chained(tmp_path, first, second, clock)
        with pytest.raises(e.ModelUnauthorizedError):
            await work(tmp_path, model, clock)
    assert second.requests == []


async def test_what_is_not_in_a_chain_is_refused(tmp_path):
    async with MessagesServer(builder) as first, ChatServer(builder) as second:
        model = chained(tmp_path, first, second, StepClock(), key="SPARE_KEY")
        request = ModelRequest(KEY, 1, "other", (), (), ({"role": "user", "content": [text("x")]},))
        with pytest.raises(e.ModelRejectedError, match="in no chain"):
            await model.reply(request)
        assert model.model_id("opus") == "claude-opus-5-5"


def test_a_key_that_is_not_set_is_named(tmp_path):
    provider = {"api": "openai", "base_url": "http://127.0.0.1:1/v1", "key": "SPARE_KEY"}
    given = {"providers": {"spare": provider}, "tiers": {"haiku": ["spare/m"]}}
    (tmp_path / FILE).write_text(json.dumps(given))
    with pytest.raises(e.ModelUnauthorizedError, match="SPARE_KEY is not set"):
        live_model(tmp_path, StepClock(), {"ANTHROPIC_API_KEY": "k"})


def test_without_the_file_it_is_anthropic_alone(tmp_path):
    model = live_model(tmp_path, StepClock(), {"ANTHROPIC_API_KEY": "k"})
    assert model.model_id("haiku") == "claude-haiku-5-5"
    (tmp_path / FILE).write_text("tiers: [")
    with pytest.raises(e.InputError, match="cannot be read as YAML"):
        live_model(tmp_path, StepClock(), {})
