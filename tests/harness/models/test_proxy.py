"""The proxy as a program in a sandbox sees it: the real SDK asks, an attempt's answer replies."""

import asyncio

import anthropic
import httpx2
import pytest

from harness.models.proxy import ModelProxy
from harness.models.questions import Asked
from harness.ports import ModelReply
from orchestrator import errors as e
from orchestrator.values import Usage

CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
REPLY = ModelReply(
    (THOUGHT, {"type": "text", "text": "hi"}, CALL), "tool_use", "the-tiers-own",
    Usage(10, 20, 30, 40), 0.5,
)  # fmt: skip
TOOL = {"name": "Bash", "input_schema": {"type": "object"}}


class Desk:
    """A proxy with one session; `say` is answered or raised."""

    def __init__(self, say: ModelReply | Exception = REPLY) -> None:
        self.say = say
        self.asked: list[Asked] = []
        self.proxy = ModelProxy()

    async def answer(self, asked: Asked) -> ModelReply:
        self.asked.append(asked)
        if isinstance(self.say, Exception):
            raise self.say
        return self.say

    async def client(self, token: str) -> anthropic.AsyncAnthropic:
        url = f"http://127.0.0.1:{await self.proxy.port()}"
        return anthropic.AsyncAnthropic(api_key=token, base_url=url, max_retries=2)


async def ask(client: anthropic.AsyncAnthropic, **more):
    given = {"model": "whatever-1", "max_tokens": 99, "tools": [TOOL],
             "messages": [{"role": "user", "content": "hello"}]}  # fmt: skip
    return await client.messages.create(**{**given, **more})


@pytest.fixture
async def desk():
    made = Desk()
    yield made
    await made.proxy.close()


async def test_a_plain_question_is_answered_by_the_attempts_own_model(desk):
    async with desk.proxy.session(desk.answer) as token:
        said = await ask(await desk.client(token), system="be good")
    assert (said.model, said.stop_reason, said.usage.cache_read_input_tokens) == (
        "the-tiers-own", "tool_use", 30,
    )  # fmt: skip
    assert said.content[2].input == {"command": "ls"}
    (asked,) = desk.asked
    assert asked.system == ({"type": "text", "text": "be good"},) and asked.main
    assert asked.messages[0]["content"] == [{"type": "text", "text": "hello"}]


async def test_a_streamed_question_gets_the_same_in_events(desk):
    async with desk.proxy.session(desk.answer) as token:
        client = await desk.client(token)
        async with client.messages.stream(
            model="x", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
        ) as stream:
            said = await stream.get_final_message()
    assert [block.type for block in said.content] == ["thinking", "text", "tool_use"]
    assert said.content[0].signature == "sig" and said.content[2].input == {"command": "ls"}
    assert (said.usage.output_tokens, said.stop_reason) == (20, "tool_use")
    assert not desk.asked[0].main


@pytest.mark.parametrize(
    "error", [e.LimitReachedError("60 turns used"), e.ModelQuotaExhaustedError("until noon")]
)
async def test_what_ends_an_attempt_is_not_asked_again(desk, error):
    desk.say = error
    async with desk.proxy.session(desk.answer) as token:
        client = await desk.client(token)
        with pytest.raises(anthropic.PermissionDeniedError, match=str(error)):
            await ask(client)
    assert len(desk.asked) == 1


async def test_only_the_token_of_an_attempt_at_work_is_answered(desk):
    async with desk.proxy.session(desk.answer) as token:
        other = await desk.client("sk-ant-other")
        with pytest.raises(anthropic.AuthenticationError):
            await ask(other)
    with pytest.raises(anthropic.AuthenticationError):
        await ask(await desk.client(token))
    assert desk.asked == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"messages": 7}', b'{"messages": [{}]}'])
async def test_nonsense_is_refused(desk, body):
    async with desk.proxy.session(desk.answer) as token:
        url = f"http://127.0.0.1:{await desk.proxy.port()}/v1/messages"
        async with httpx2.AsyncClient() as client:
            answer = await client.post(url, content=body, headers={"x-api-key": token})
    assert (answer.status_code, desk.asked) == (400, [])


async def test_tokens_are_counted_about(desk):
    async with desk.proxy.session(desk.answer) as token:
        client = await desk.client(token)
        message = {"role": "user", "content": "x" * 4000}
        counted = await client.messages.count_tokens(model="m", messages=[message])
    assert 1000 <= counted.input_tokens < 1100


async def test_counting_takes_no_more_than_a_question_may_have(desk):
    async with desk.proxy.session(desk.answer) as token:
        url = f"http://127.0.0.1:{await desk.proxy.port()}/v1/messages/count_tokens"
        async with httpx2.AsyncClient() as client:
            said = await client.post(url, content=b"x" * 33_000_000, headers={"x-api-key": token})
    assert said.status_code == 400


class Slow(Desk):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.let, self.ended = asyncio.Event(), asyncio.Event(), ""

    async def answer(self, asked: Asked) -> ModelReply:
        self.begun.set()
        try:
            await self.let.wait()
            self.ended = "answered"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        return await super().answer(asked)


async def test_who_leaves_is_charged_all_the_same():
    desk = Slow()
    async with desk.proxy.session(desk.answer) as token:
        asking = asyncio.ensure_future(ask(await desk.client(token)))
        await desk.begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        desk.let.set()
        while not desk.ended:
            await asyncio.sleep(0)
    assert desk.ended == "answered"
    await desk.proxy.close()


async def test_nothing_is_asked_any_more_when_the_attempt_is_over():
    desk = Slow()
    async with desk.proxy.session(desk.answer) as token:
        asking = asyncio.ensure_future(ask(await desk.client(token)))
        await desk.begun.wait()
    assert desk.ended == "cancelled"
    with pytest.raises(anthropic.PermissionDeniedError, match="attempt is over"):
        await asking
    await desk.proxy.close()
