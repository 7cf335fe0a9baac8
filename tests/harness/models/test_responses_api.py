"""The Responses API through the proxy: the real SDK asks, and what Codex sends is understood."""

import json

import openai
import pytest

from harness.models.proxy import ModelProxy
from harness.models.questions import Asked
from harness.models.responses_api import read
from harness.ports import ModelReply
from orchestrator import errors as e
from orchestrator.values import Usage

CALL = {"type": "tool_use", "id": "toolu_1", "name": "exec_command", "input": {"cmd": "ls"}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
SAID = (THOUGHT, {"type": "text", "text": "I look."}, CALL)
REPLY = ModelReply(SAID, "tool_use", "the-tiers-own", Usage(10, 20, 30, 40), 0.5)
FUNCTION = {"type": "function", "name": "exec_command", "parameters": {"type": "object"}}
MARK = {"cache_control": {"type": "ephemeral"}}


def words(text: str, kind: str = "input_text") -> dict:
    return {"type": kind, "text": text}


@pytest.fixture
async def desk():
    made = Desk()
    yield made
    await made.proxy.close()


class Desk:
    def __init__(self) -> None:
        self.say: ModelReply | Exception = REPLY
        self.asked: list[Asked] = []
        self.proxy = ModelProxy()

    async def answer(self, asked: Asked) -> ModelReply:
        self.asked.append(asked)
        if isinstance(self.say, Exception):
            raise self.say
        return self.say

    async def ask(self, **more):
        async with self.proxy.session(self.answer) as token:
            url = f"http://127.0.0.1:{await self.proxy.port()}/v1"
            client = openai.AsyncOpenAI(api_key=token, base_url=url, max_retries=2)
            given = {"model": "whatever-1", "input": "hello", "tools": [FUNCTION]}
            if not more.get("stream"):
                return await client.responses.create(**{**given, **more})
            return [one async for one in await client.responses.create(**{**given, **more})]


async def test_a_plain_question_is_answered_by_the_attempts_own_model(desk):
    said = await desk.ask(instructions="be good", max_output_tokens=99)
    assert (said.model, said.status, said.output_text) == ("the-tiers-own", "completed", "I look.")
    call = said.output[1]
    assert (call.type, call.call_id, json.loads(call.arguments)) == (
        "function_call", "toolu_1", {"cmd": "ls"},
    )  # fmt: skip
    assert (said.usage.input_tokens, said.usage.input_tokens_details.cached_tokens) == (80, 30)
    (asked,) = desk.asked
    assert asked.system == ({**words("be good", "text"), **MARK},) and asked.max_tokens == 99
    assert asked.tools == (
        {"name": "exec_command", "description": "", "input_schema": {"type": "object"}},
    )


async def test_a_streamed_question_gets_the_same_in_events(desk):
    got = await desk.ask(stream=True)
    kinds = [one.type.removeprefix("response.") for one in got]
    assert kinds == ["created", "output_item.added", "output_text.delta", "output_item.done",
                     "output_item.done", "completed"]  # fmt: skip
    assert [item.type for item in got[-1].response.output] == ["message", "function_call"]


async def test_a_reply_that_was_cut_says_so(desk):
    desk.say = ModelReply(SAID[1:2], "max_tokens", "m", None, None)
    assert (await desk.ask()).incomplete_details.reason == "max_output_tokens"
    assert (await desk.ask(stream=True))[-1].type == "response.incomplete"


async def test_what_ends_an_attempt_is_not_asked_again(desk):
    desk.say = e.LimitReachedError("60 turns used")
    with pytest.raises(openai.PermissionDeniedError, match="60 turns used"):
        await desk.ask(stream=True)
    assert len(desk.asked) == 1


def test_a_conversation_is_said_in_turns_with_its_end_marked():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
    output = {"type": "function_call_output", "call_id": "c1", "output": "found"}
    shown = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    items = [
        {"type": "message", "role": "developer", "content": [words("rules")]},
        {"type": "message", "role": "user", "content": [words("one")]},
        {"type": "message", "role": "user", "content": [words("two"), shown]},
        {"type": "reasoning", "encrypted_content": "x"},
        {"type": "message", "role": "assistant", "content": [words("so", "output_text")]},
        call,
        output,
        {**output, "call_id": "c2", "output": [words("more")]},
    ]
    asked, _ = read(json.dumps({"input": items}).encode())
    image = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    found = {"type": "tool_result", "tool_use_id": "c1", "content": [words("found", "text")]}
    more = {"type": "tool_result", "tool_use_id": "c2", "content": [words("more", "text")]}
    assert asked.system == ({**words("rules", "text"), **MARK},)
    assert [(m["role"], m["content"]) for m in asked.messages] == [
        ("user", [words("one", "text"), words("two", "text"), {"type": "image", "source": image}]),
        ("assistant", [words("so", "text"),
                       {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]),
        ("user", [found, {**more, **MARK}]),
    ]  # fmt: skip


def test_tools_that_others_would_run_are_not_offered():
    tools = [FUNCTION, {"type": "web_search"}, {"type": "namespace", "tools": [FUNCTION]}]
    asked, _ = read(json.dumps({"input": "x", "tools": tools}).encode())
    assert [tool["name"] for tool in asked.tools] == ["exec_command"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"input": 7},
        {"input": [7]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {"input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "http://evil.example/?x"}]}]},
        {"input": [{"type": "item_reference", "id": "of_another"}]},
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}]},
        {"input": "x", "tools": 7},
        {"input": "x", "max_output_tokens": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_nonsense_and_what_would_be_fetched_is_refused(given):
    with pytest.raises(ValueError):
        read(json.dumps(given).encode())
