"""The real SDK against a local server: each fault, alone and through the whole loop."""

import inspect
import json
from dataclasses import replace

import anthropic
import httpx2
import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.tools import TOOLS
from harness.agents.transcript import NAME, Transcript
from harness.models.anthropic_api import Answer, AnthropicModel
from harness.models.sdk_errors import BY_CLASS, remedies, translate
from harness.ports import ModelReply, ModelRequest
from orchestrator import errors as e
from orchestrator.values import Usage
from tests.emulators import messages_api as api
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

NAMED = remedies("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
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
        (api.rate_limited(7), e.ModelRateLimitedError),
        (api.overloaded(), e.ModelOverloadedError),
        (api.broken(500), e.ModelOverloadedError),
        (api.broken(503), e.ModelOverloadedError),
        (api.broken(504), e.ModelTimeoutError),
        (api.broken(408), e.ModelTimeoutError),
        (api.unauthorized(), e.ModelUnauthorizedError),
        (api.broken(402), e.ModelQuotaExhaustedError),
        (api.broken(403), e.ModelUnauthorizedError),
        (api.broken(404), e.ModelRejectedError),
        (api.broken(413), e.ModelRejectedError),
        (api.rejected(), e.ModelRejectedError),
        (api.too_long(), e.ModelContextTooLongError),
        (api.out_of_credit(), e.ModelQuotaExhaustedError),
        (api.cut(), e.ModelTimeoutError),
        (api.drop(), e.ModelTimeoutError),
        (api.malformed_call(), e.ModelMalformedError),
        (api.garbage(), e.ModelMalformedError),
        (api.error_event(), e.ModelOverloadedError),
        (api.error_event("rate_limit_error", "slow"), e.ModelRateLimitedError),
        (api.error_event("invalid_request_error", "no"), e.ModelRejectedError),
        (api.error_event("novel_error", "?"), e.ModelOverloadedError),
        (api.redirected(), e.ModelUnauthorizedError),
        (api.compressed(), e.ModelMalformedError),
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


@pytest.mark.parametrize(
    ("hidden", "error"),
    [
        (httpx2.ConnectError("Name or service not known"), e.ModelUnreachableError),
        (httpx2.ConnectTimeout(""), e.ModelUnreachableError),
        (httpx2.ProxyError("403 Forbidden"), e.ModelUnreachableError),
        (httpx2.ReadError(""), e.ModelTimeoutError),
        (httpx2.WriteError(""), e.ModelTimeoutError),
        (httpx2.ReadTimeout(""), e.ModelTimeoutError),
        (httpx2.RemoteProtocolError("closed"), e.ModelTimeoutError),
        (None, e.ModelTimeoutError),
    ],
)
def test_only_what_was_surely_never_sent_is_unreachable(hidden, error):
    """A connection that broke later may have carried a question that is charged."""
    foreign = anthropic.APIConnectionError(request=httpx2.Request("POST", "http://x"))
    foreign.__cause__ = hidden
    assert type(translate(foreign, NAMED)) is error


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


# ------------------------------------------------------------- through the loop

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


# ------------------------------------------------------------------ translation


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*(_subclasses(sub) for sub in cls.__subclasses__()))


#: Raised by parts of the SDK that are not used here; as misuse of it they map to a rejection.
UNUSED = {
    "APIWebhookValidationError",
    "MissingDependencyError",
    "StreamAlreadyConsumed",
    "ToolsetUsageError",
}
ROOTS = {anthropic.AnthropicError, anthropic.APIError, anthropic.APIStatusError}


def test_every_exception_of_the_sdk_is_mapped_by_name():
    """A class right under one of the SDK's roots says something of its own, so it needs a row."""
    found = _subclasses(anthropic.AnthropicError)
    assert len(found) > 30
    need = {c.__name__ for c in found if c in ROOTS or ROOTS & set(c.__bases__)}
    assert need - UNUSED <= BY_CLASS.keys()


def test_every_exception_of_its_client_is_mapped():
    found = {c for _, c in inspect.getmembers(httpx2, inspect.isclass) if issubclass(c, Exception)}
    assert len(found) > 20
    covered = {c for c in found if any(base.__name__ in BY_CLASS for base in c.__mro__)}
    assert found == covered


def test_spending_limits_are_no_rate_limits():
    for name in ("ContractSpendLimitReachedError", "EnforcedSpendLimitReachedError"):
        assert issubclass(getattr(anthropic, name), anthropic.RateLimitError)
        assert BY_CLASS[name] is e.ModelQuotaExhaustedError


def test_a_translated_error_keeps_what_was_said():
    answer = httpx2.Response(
        401, request=httpx2.Request("POST", "http://x"), headers={"retry-after": "2"}
    )
    body = {"type": "error", "error": {"type": "authentication_error", "message": "bad key"}}
    ours = translate(anthropic.AuthenticationError("m", response=answer, body=body), NAMED)
    assert type(ours) is e.ModelUnauthorizedError and ours.retry_after == 2
    assert str(ours).startswith("401 authentication_error: bad key; check ANTHROPIC_API_KEY")
    assert translate(ours, NAMED) is ours


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
