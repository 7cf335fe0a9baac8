"""The real OpenAI SDK against a local server: what only this dialect does. See also conformance."""

import inspect
import json

import httpx2
import openai
import pytest

from harness.agents.tools import TOOLS
from harness.models import openai_shapes
from harness.models.openai_api import Answer, OpenAIModel, usage_of
from harness.models.sdk_errors import BY_CLASS
from harness.ports import ModelRequest
from orchestrator import errors as e
from orchestrator.routing.file import Provider
from orchestrator.values import Usage
from tests.emulators import messages_api as api
from tests.emulators.chat_completions import ChatServer
from tests.emulators.rate_limits import TokenBucket
from tests.harness.agents.workbench import KEY, bash, text

CALL = {"type": "tool_use", "name": "bash", "input": {"command": "ls"}}


def request(*messages: dict, turn: int = 1) -> ModelRequest:
    first = {"role": "user", "content": [text("hello")]}
    return ModelRequest(KEY, turn, "openai/gpt-5", (text("sys"),), TOOLS, (first, *messages))


def model_at(server: ChatServer, name: str = "openai", **more) -> OpenAIModel:
    seconds = more.pop("read_seconds", 60.0)
    provider = Provider(api="openai", base_url=server.base_url, **more)
    return OpenAIModel(name, provider, "k-1", read_seconds=seconds)


async def test_a_question_is_said_in_their_words_and_priced_by_their_price():
    usage = {"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 5000}
    async with ChatServer(lambda _: {"content": [CALL], "usage": usage}) as server:
        model = model_at(server)
        reply = await model.reply(request())
        await model.close()
    sent = server.requests[0]
    assert (sent["model"], sent["max_completion_tokens"]) == ("gpt-5", 16_000)
    assert "max_tokens" not in sent and sent["stream_options"] == {"include_usage": True}
    assert sent["messages"] == [
        {"role": "system", "content": "sys"},
        {"role": "user", "content": "hello"},
    ]
    assert sent["tools"][0]["function"]["parameters"] == TOOLS[0]["input_schema"]
    assert server.headers[0]["authorization"] == "Bearer k-1"
    assert (reply.model, reply.usage) == ("openai/gpt-5", Usage(1000, 200, 5000))
    # per million: 1.25 in, 0.125 read, 10 out
    assert reply.cost_usd == pytest.approx((1000 * 1.25 + 5000 * 0.125 + 200 * 10) / 1e6)


async def test_its_limits_are_read_from_good_answers_and_from_refusals():
    bucket = TokenBucket(6, lambda: 0.0, burst=1)  # one, and another in ten seconds
    async with ChatServer(lambda _: [text("hi")], bucket=bucket) as server:
        model = model_at(server)
        assert (await model.reply(request())).pause == pytest.approx(10)
        with pytest.raises(e.ModelRateLimitedError) as caught:
            await model.reply(request())
        await model.close()
    assert caught.value.retry_after == pytest.approx(10)


async def test_others_know_the_limit_by_its_old_name_and_an_unknown_price_stays_unknown():
    async with ChatServer(lambda _: [text("hi")]) as server:
        model = model_at(server, "mine", limit=None)
        reply = await model.reply(request())
        assert model.worst_case_usd(request()) is not None  # gpt-5, by its id
        await model.close()
    assert server.requests[0]["max_tokens"] == 16_000
    assert reply.usage is not None and reply.cost_usd is None
    assert reply.stop_reason == "end_turn"


async def test_silence_is_a_timeout_and_a_filtered_answer_a_refusal():
    said = {"content": [text("I")], "stop_reason": "content_filter"}
    async with ChatServer(lambda _: said, faults={1: api.stall()}) as server:
        model = model_at(server, read_seconds=0.2)
        with pytest.raises(e.ModelTimeoutError):
            await model.reply(request())
        with pytest.raises(e.ModelRefusedError):
            await model.reply(request())
        await model.close()


def answered(*deltas: dict, finish: str | None = "tool_calls", **more) -> Answer:
    answer = Answer(request(turn=3), "openai")
    for delta in deltas:
        answer.add({"choices": [{"index": 0, "delta": delta}]})
    answer.add({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], **more})
    return answer


def part(given: str, name: str | None = None, **more) -> dict:
    return {"tool_calls": [{"function": {"name": name, "arguments": given}, **more}]}


def test_calls_are_put_together_whatever_a_server_leaves_out():
    whole = answered({"content": None}, part('{"command": "a"}', "bash")).reply()
    assert whole.content == (
        {"type": "tool_use", "id": "toolu_003_0", "name": "bash", "input": {"command": "a"}},
    )
    assert whole.usage is None and whole.cost_usd is None
    bare = answered(part("", "bash", index=0), finish="stop").reply()
    assert (bare.content[0]["input"], bare.stop_reason) == ({}, "tool_use")
    two = answered(part("{}", "a", index=0), part("{}", "b", index=1)).reply()
    assert [c["id"] for c in two.content] == ["toolu_003_0", "toolu_003_1"]


def test_a_call_cut_by_the_length_limit_is_dropped_and_otherwise_malformed():
    cut = answered(part('{"command": "rm -rf', "bash", index=0), finish="length").reply()
    assert (cut.content, cut.stop_reason) == ((), "max_tokens")
    with pytest.raises(e.ModelMalformedError, match="bash is not JSON"):
        answered(part('{"command": "rm -rf', "bash", index=0)).reply()
    with pytest.raises(e.ModelMalformedError, match="without an id or a name"):
        answered(part("{}", None, index=0)).reply()
    with pytest.raises(e.ModelTimeoutError):
        answered({"content": "and so"}, finish=None).reply()


@pytest.mark.parametrize(
    "said",
    [
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 10**30, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"completion_tokens": 1},
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
    ],
)
def test_what_cannot_be_a_count_leaves_the_usage_unknown(said):
    assert usage_of(said) is None


def test_a_conversation_of_another_provider_can_be_gone_on_with():
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    said = {"role": "assistant", "content": [thought, text("so"), bash("ls", name_id="toolu_é/1")]}
    result = {"type": "tool_result", "tool_use_id": "toolu_é/1", "is_error": True}
    back = {"role": "user", "content": [{**result, "content": [text("no")]}, text("Go on.")]}
    _, _, assistant, tool, user = openai_shapes.messages(request(said, back))
    (called,) = assistant["tool_calls"]
    assert assistant["content"] == "so" and json.loads(called["function"]["arguments"])
    assert called["id"] == tool["tool_call_id"] and len(called["id"]) == 9
    assert (tool["content"], user) == ("error: no", {"role": "user", "content": "Go on."})


def test_images_are_shown_and_what_has_no_word_is_refused():
    source = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    image = {"type": "image", "source": source}
    shown = openai_shapes.messages(request({"role": "user", "content": [image, text("see")]}))[-1]
    assert shown["content"][0]["image_url"]["url"] == "data:image/png;base64,AA=="
    with pytest.raises(e.ModelRejectedError, match="'document'"):
        openai_shapes.messages(request({"role": "user", "content": [{"type": "document"}]}))
    search = {"type": "web_search_20250305", "name": "web_search"}
    with pytest.raises(e.ModelRejectedError, match="web_search"):
        openai_shapes.tools(ModelRequest(KEY, 1, "m", (), (search,), ()))


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*(_subclasses(sub) for sub in cls.__subclasses__()))


def test_every_exception_of_the_sdk_and_its_client_is_mapped():
    found = _subclasses(openai.OpenAIError)
    assert len(found) > 15 and all(BY_CLASS.keys() & {c.__name__ for c in k.__mro__} for k in found)
    client = {c for _, c in inspect.getmembers(httpx2, inspect.isclass) if issubclass(c, Exception)}
    assert all(BY_CLASS.keys() & {base.__name__ for base in c.__mro__} for c in client)


def test_a_key_that_no_header_can_carry_is_refused_at_once():
    provider = Provider(api="openai", base_url="http://127.0.0.1:1/v1", key="MY_KEY")
    with pytest.raises(e.ModelUnauthorizedError, match="MY_KEY holds a character"):
        OpenAIModel("mine", provider, "k\n")
