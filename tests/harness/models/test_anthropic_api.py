"""The real SDK against a local server: replies, what they cost, and each fault."""

from dataclasses import replace

import pytest

from harness.agents.tools import TOOLS
from harness.models.anthropic_api import Answer, AnthropicModel
from harness.ports import ModelReply, ModelRequest
from orchestrator import errors as e
from orchestrator.values import Usage
from tests.conformance.test_every_model import FAULTS
from tests.emulators import messages_api as api
from tests.emulators.messages_api import MessagesServer
from tests.harness.agents.workbench import (
    KEY,
    text,
)

CALL = {"type": "tool_use", "name": "bash", "input": {"command": "ls"}}


def model_at(server: MessagesServer, **env) -> AnthropicModel:
    read_seconds = env.pop("read_seconds", 60.0)
    environ = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k-1", **env}
    return AnthropicModel(environ, read_seconds=read_seconds)


def request(model: str = "claude-haiku-5-5", words: str = "hello") -> ModelRequest:
    message = {"role": "user", "content": [{"type": "text", "text": words}]}
    return ModelRequest(KEY, 1, model, ({"type": "text", "text": "sys"},), TOOLS, (message,))


async def test_a_streamed_reply_is_put_together():
    def respond(_):
        return {
            "content": [text("Let me look."), {**CALL, "id": "toolu_9"}],
            "usage": {"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 5000},
        }

    async with MessagesServer(respond) as server:
        model = model_at(server)
        reply = await model.reply(request())
        await model.close()
    assert reply.content == (text("Let me look."), {**CALL, "id": "toolu_9"})
    assert (reply.stop_reason, reply.model, reply.source) == (
        "tool_use",
        "claude-haiku-5-5",
        "live",
    )
    assert reply.usage == Usage(1000, 200, 5000, 0)
    # per million: 0.10 in, 0.50 out, 0.01 read
    assert reply.cost_usd == pytest.approx((1000 * 0.10 + 200 * 0.50 + 5000 * 0.01) / 1e6)
    sent = server.requests[0]
    assert sent["stream"] is True and sent["system"] == [{"type": "text", "text": "sys"}]
    assert server.headers[0]["authorization"] == "Bearer k-1"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        *FAULTS,
        (api.broken(403), e.ModelUnauthorizedError),
        (api.error_event("rate_limit_error", "slow"), e.ModelRateLimitedError),
        (api.error_event("invalid_request_error", "no"), e.ModelRejectedError),
        (api.error_event("novel_error", "?"), e.ModelOverloadedError),
    ],
)
async def test_each_fault_becomes_our_error_and_is_asked_once(fault, error):
    async with MessagesServer(lambda _: [CALL], faults={1: fault}) as server:
        model = model_at(server)
        with pytest.raises(e.ModelError) as caught:
            await model.reply(request())
        await model.close()
    assert type(caught.value) is error
    assert caught.value.retry_after == (7 if "retry-after" in fault.headers else None)
    assert len(server.requests) == 1


async def test_silence_is_a_timeout():
    async with MessagesServer(lambda _: [CALL], faults={1: api.stall()}) as server:
        model = model_at(server, read_seconds=0.2)
        with pytest.raises(e.ModelTimeoutError):
            await model.reply(request())
        await model.close()


async def unreached(url: str) -> str:
    model = AnthropicModel({"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k"})
    with pytest.raises(e.ModelError) as caught:
        await model.reply(request())
    await model.close()
    assert type(caught.value) is e.ModelUnreachableError
    return str(caught.value)


async def test_nobody_listening_is_unreachable_and_named_without_its_secrets():
    server = MessagesServer(lambda _: [CALL])
    server.reserve()
    said = await unreached(server.url.replace("http://", "http://me:s3cret@") + "/t0ken")
    assert said.startswith("127.0.0.1: ") and "ANTHROPIC_BASE_URL" in said
    assert "s3cret" not in said and "t0ken" not in said
    async with server:
        pass


async def test_what_does_not_speak_tls_is_unreachable():
    async with MessagesServer(lambda _: [CALL]) as server:
        await unreached(server.url.replace("http://", "https://"))
        assert server.requests == []


async def test_a_refusal_is_an_error():
    said = {"content": [text("I cannot")], "stop_reason": "refusal"}
    async with MessagesServer(lambda _: said) as server:
        model = model_at(server)
        with pytest.raises(e.ModelRefusedError):
            await model.reply(request())
        await model.close()


def test_a_call_cut_by_the_length_limit_is_dropped_and_otherwise_malformed():
    def answer(reason: str) -> Answer:
        answer = Answer("m")
        block = {"type": "tool_use", "id": "t", "name": "bash", "input": {}}
        answer.add({"type": "content_block_start", "index": 0, "content_block": block})
        delta = {"type": "input_json_delta", "partial_json": '{"command": "rm -rf'}
        answer.add({"type": "content_block_delta", "index": 0, "delta": delta})
        answer.add({"type": "message_delta", "delta": {"stop_reason": reason}})
        answer.add({"type": "message_stop"})
        return answer

    cut = answer("max_tokens").reply()
    assert cut.content == () and cut.usage is None and cut.cost_usd is None
    with pytest.raises(e.ModelMalformedError, match="bash is not JSON"):
        answer("tool_use").reply()


def test_a_missing_key_names_the_remedy():
    with pytest.raises(e.ModelUnauthorizedError, match="export a key"):
        AnthropicModel({})


async def test_ids_come_from_one_place_and_the_environment():
    async with MessagesServer(lambda _: [CALL]) as server:
        assert model_at(server).model_id("haiku") == "claude-haiku-5-5"
        assert model_at(server, FIBREFLOW_MODEL_OPUS="mine").model_id("opus") == "mine"


@pytest.mark.parametrize("claimed", [-1, 10**30, True, 1.5, "9", None])
def test_what_cannot_be_a_count_leaves_the_cost_unknown(claimed):
    answer = Answer("claude-haiku-5-5")
    usage = {"input_tokens": 10, "output_tokens": 1}
    answer.add({"type": "message_start", "message": {"usage": usage}})
    delta = {"stop_reason": "end_turn"}
    answer.add({"type": "message_delta", "delta": delta, "usage": {"output_tokens": claimed}})
    answer.add({"type": "message_stop"})
    reply = answer.reply()
    assert reply.usage is None and reply.cost_usd is None


def replied(begin: dict, end: dict, model: str = "claude-opus-5-5") -> ModelReply:
    """To a question for opus; `begin` and `end` are what was counted then."""
    answer = Answer("claude-opus-5-5", asked="claude-opus-5-5")
    answer.add({"type": "message_start", "message": {"usage": begin, "model": model}})
    answer.add({"type": "content_block_start", "index": 0, "content_block": text("so")})
    delta = {"stop_reason": "end_turn"}
    answer.add({"type": "message_delta", "delta": delta, "usage": end})
    answer.add({"type": "message_stop"})
    return answer.reply()


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ({"input_tokens": 10, "output_tokens": 1}, {}),  # how long it became is not said
        ({"input_tokens": 10}, {"output_tokens": 0}),  # though it said something
        ({"input_tokens": 0}, {"output_tokens": 5}),  # though it was asked something
    ],
)
def test_a_count_that_cannot_be_right_is_unknown_and_no_zero(begin, end):
    assert replied(begin, end).usage is None and replied(begin, end).cost_usd is None


@pytest.mark.parametrize(
    ("named", "per_million"),
    [("claude-haiku-5-5", 20), ("claude-opus-5-5", 20), ("mystery-1", None)],
)
def test_a_reply_costs_the_dearer_of_what_was_asked_and_what_it_names(named, per_million):
    cost = replied({"input_tokens": 1}, {"output_tokens": 10**6}, named).cost_usd
    assert cost == (None if per_million is None else pytest.approx(per_million, rel=1e-4))


@pytest.mark.parametrize("address", ["", "https://api.anthropic.com", "http://127.0.0.1:1"])
def test_only_anthropics_own_counts_bound_the_next_reservation(address):
    model = AnthropicModel({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": address})
    counted = replace(request(words="x" * 10_000), input_bound=10)
    by_bytes = model.worst_case_usd(request(words="x" * 10_000))
    assert (model.worst_case_usd(counted) == by_bytes) is ("127" in address)


@pytest.mark.parametrize("key", ["k\n", "k\nk", "ключ", "k\0"])
def test_a_key_that_no_header_can_carry_is_refused_at_once(key):
    with pytest.raises(e.ModelUnauthorizedError, match="a character that no key has") as caught:
        AnthropicModel({"ANTHROPIC_API_KEY": key})
    assert "k" not in str(caught.value).partition("holds")[0].replace("ANTHROPIC_API_KEY", "")
