"""What every adapter behind the `Model` port keeps to, over a socket where it has one."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from harness.agents.prompts import feature_section, section_digest
from harness.agents.tools import TOOLS
from harness.models.anthropic_api import AnthropicModel
from harness.models.chained import ChainedModel, Link
from harness.models.openai_api import OpenAIModel
from harness.models.recorded import RecordedModel
from harness.ports import Model, ModelRequest
from harness.record.clock import SystemClock
from orchestrator import errors as e
from orchestrator.routing.file import Provider
from orchestrator.values import TIERS, Usage
from tests.emulators import messages_api as api
from tests.emulators.chat_completions import ChatServer
from tests.emulators.messages_api import MessagesServer
from tests.harness.agents.workbench import FEATURE, KEY, text

CALL = {"type": "tool_use", "name": "bash", "input": {"command": "ls", "é": [1, None]}}
SAID = [text("I look."), CALL, {**CALL, "input": {"command": "pwd"}}]
USAGE = {"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 500}


@dataclass
class Opened:
    """An adapter, the id that one asks it for, and the server behind it, if there is one."""

    model: Model
    id: str
    server: MessagesServer | None = None


def anthropic(server: MessagesServer) -> Model:
    return AnthropicModel({"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k"})


def openai(server: ChatServer, seconds: float = 60.0) -> Model:
    provider = Provider(api="openai", base_url=server.base_url)
    return OpenAIModel("openai", provider, "k", read_seconds=seconds)


@contextlib.asynccontextmanager
async def opened(name: str, tmp_path, **faults: Any) -> AsyncIterator[Opened]:
    if name == "recorded":
        path = tmp_path / KEY.feature / f"{KEY.name}.yaml"
        path.parent.mkdir()
        turn = {"content": SAID, "usage": {"input": 500, "output": 200, "cache_read": 500}}
        body = {"source": "recorded", "task": section_digest(feature_section(FEATURE))}
        path.write_text(yaml.safe_dump({**body, "turns": [{**turn, "cost_usd": 0.5}] * 2}))
        yield Opened(RecordedModel(tmp_path), "any")
        return
    kind = MessagesServer if name == "anthropic" else ChatServer
    async with kind(lambda _: {"content": SAID, "usage": USAGE}, **faults) as server:
        if name == "anthropic":
            made, id_ = anthropic(server), "claude-haiku-5-5"
        else:
            made, id_ = openai(server), "openai/gpt-5"
        if name == "chained":
            made = ChainedModel(dict.fromkeys(TIERS, (Link(id_, made),)), SystemClock())
        yield Opened(made, id_, server)
        await made.close()


ALL = ("anthropic", "openai", "chained", "recorded")
LIVE = ALL[:3]


def asked(id_: str, turn: int = 1, *more: dict[str, Any]) -> ModelRequest:
    first = {"role": "user", "content": [text("A project."), text(feature_section(FEATURE))]}
    system = ({"type": "text", "text": "sys", "cache_control": {"type": "ephemeral"}},)
    return ModelRequest(KEY, turn, id_, system, TOOLS, (first, *more), max_tokens=900)


@pytest.mark.parametrize("name", ALL)
async def test_a_reply_has_the_shapes_of_the_messages_api(name, tmp_path):
    begun: list[int] = []
    async with opened(name, tmp_path) as one:
        reply = await one.model.reply(replace(asked(one.id), begun=lambda: begun.append(1)))
        worst = one.model.worst_case_usd(asked(one.id))
    words, *calls = reply.content
    assert words == text("I look.")
    assert [(c["type"], c["name"], c["input"]) for c in calls] == [
        ("tool_use", "bash", block["input"]) for block in SAID[1:]
    ]
    ids = {c["id"] for c in calls}
    assert len(ids) == 2 and all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id_) for id_ in ids)
    assert reply.stop_reason == "tool_use" and reply.model
    assert reply.source == one.model.source
    assert reply.usage == Usage(500 if name == "recorded" else 1000, 200, 500)
    assert reply.cost_usd and worst is not None and (worst >= reply.cost_usd or worst == 0)
    assert begun or name == "recorded"


@pytest.mark.parametrize("name", ALL)
async def test_what_it_said_can_be_said_back_with_the_results(name, tmp_path):
    async with opened(name, tmp_path) as one:
        reply = await one.model.reply(asked(one.id))
        results = [
            {"type": "tool_result", "tool_use_id": c["id"], "content": [text(f"found {n}")]}
            for n, c in enumerate(reply.content[1:])
        ]
        said = {"role": "assistant", "content": list(reply.content)}
        answer = {"role": "user", "content": [*results, text("Go on.")]}
        again = await one.model.reply(asked(one.id, 2, said, answer))
        assert again.stop_reason == "tool_use"
        if one.server is not None:
            sent = json.dumps(one.server.requests[1])
            assert sent.index("found 0") < sent.index("found 1") < sent.index("Go on.")
            assert one.server.errors == []


@pytest.mark.parametrize("name", ALL)
async def test_it_knows_its_tiers_and_closes_twice(name, tmp_path):
    async with opened(name, tmp_path) as one:
        assert all(one.model.model_id(tier) for tier in TIERS)
        await one.model.close()
        await one.model.close()


FAULTS = [
    (api.rate_limited(7), e.ModelRateLimitedError),
    (api.overloaded(), e.ModelOverloadedError),
    (api.broken(500), e.ModelOverloadedError),
    (api.broken(503), e.ModelOverloadedError),
    (api.broken(504), e.ModelTimeoutError),
    (api.broken(408), e.ModelTimeoutError),
    (api.unauthorized(), e.ModelUnauthorizedError),
    (api.broken(402), e.ModelQuotaExhaustedError),
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
    (api.redirected(), e.ModelUnauthorizedError),
    (api.compressed(), e.ModelMalformedError),
]


@pytest.mark.parametrize("name", ["openai", "chained"])  # of `anthropic`: test_anthropic_api
async def test_each_fault_becomes_our_error_and_is_asked_once(name, tmp_path):
    faults = dict(enumerate((fault for fault, _ in FAULTS), 1))
    async with opened(name, tmp_path, faults=faults) as one:
        for number, (fault, error) in enumerate(FAULTS, 1):
            with pytest.raises(e.ModelError) as caught:
                await one.model.reply(asked(one.id))
            assert type(caught.value) is error, fault
            assert caught.value.retry_after == (7 if "retry-after" in fault.headers else None)
            assert len(one.server.requests) == number
            begun = fault.kind in ("cut", "garbage", "error_event")
            assert caught.value.reply_begun is begun, fault
        assert (await one.model.reply(asked(one.id))).content[0] == SAID[0]


@pytest.mark.parametrize("name", LIVE)
async def test_a_question_that_is_given_up_leaves_it_usable(name, tmp_path):
    async with opened(name, tmp_path, faults={1: api.stall()}) as one:
        begun = asyncio.Event()
        asking = asyncio.ensure_future(one.model.reply(replace(asked(one.id), begun=begun.set)))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await one.model.reply(asked(one.id))).content[0] == SAID[0]


@pytest.mark.parametrize("name", LIVE)
async def test_nobody_listening_is_unreachable(name, tmp_path):
    server = (MessagesServer if name == "anthropic" else ChatServer)(lambda _: SAID)
    server.reserve()
    model = anthropic(server) if name == "anthropic" else openai(server)
    with pytest.raises(e.ModelUnreachableError, match=r"127\.0\.0\.1.*base_url|BASE_URL"):
        await model.reply(asked("claude-haiku-5-5" if name == "anthropic" else "openai/gpt-5"))
    await model.close()
