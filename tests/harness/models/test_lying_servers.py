"""Whatever stands in a provider's stream: a reply that can be gone on with, or an error."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from harness.models import answers, responses_api
from harness.models.anthropic_api import Answer
from harness.models.openai_api import Answer as ChatAnswer
from harness.ports import ModelRequest
from orchestrator import errors as e
from tests.harness.agents.workbench import KEY

ROUNDS = 1_500
#: What an adapter makes an error of ours.
TRANSLATED = (e.ModelError, AttributeError, KeyError, IndexError, TypeError, ValueError)
NONSENSE = [None, 7, -1, "x", [], {}, True, 1.5, [7], {"a": 1}, "\x1b[2J", 10**30]

BLOCKS = [{"type": "text", "text": ""}, {"type": "tool_use", "id": "t", "name": "bash"},
          {"type": "thinking", "thinking": ""}]  # fmt: skip
DELTAS = [{"type": "text_delta", "text": "hi"},
          {"type": "input_json_delta", "partial_json": "{}"},
          {"type": "thinking_delta", "thinking": "x"}]  # fmt: skip
MESSAGES: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5}}},
    *({"type": "content_block_start", "index": n, "content_block": b}
      for n, b in enumerate(BLOCKS)),
    *({"type": "content_block_delta", "index": n, "delta": d} for n, d in enumerate(DELTAS)),
    {"type": "message_delta", "delta": {"stop_reason": "end"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]  # fmt: skip
CALL = {"index": 0, "id": "x", "function": {"name": "bash", "arguments": "{}"}}
CHAT: list[dict[str, Any]] = [
    {"model": "m", "choices": [{"delta": {"role": "assistant", "content": "hi"}}]},
    {"model": "m", "choices": [{"delta": {"tool_calls": [CALL]}}]},
    {"model": "m", "choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    {"model": "m", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5,
                                            "prompt_tokens_details": {"cached_tokens": 1}}},
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    parts = list(value.items()) if isinstance(value, dict) else []
    parts += enumerate(value) if isinstance(value, list) else []
    for name, part in parts:
        yield from places(part, (*at, name))


def spoilt(events: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """One place of the stream is missing or nonsense."""
    made: Any = copy.deepcopy(events)
    *path, last = rng.choice(list(places(made)))
    inner = made
    for name in path:
        inner = inner[name]
    if rng.random() < 0.3:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(rng.choice(NONSENSE))
    return made


@pytest.mark.parametrize("kind", ["messages", "chat"])
def test_nonsense_in_a_stream_is_an_error_or_makes_no_difference(kind):
    request = ModelRequest(KEY, 1, "openai/gpt-5", (), (), ())
    errors = 0
    for seed in range(ROUNDS):
        answer = Answer("m") if kind == "messages" else ChatAnswer(request, "openai")
        stream = spoilt(MESSAGES if kind == "messages" else CHAT, random.Random(seed))
        try:
            for event in stream:
                answer.add(event)
            reply = answer.reply()
        except TRANSLATED:
            errors += 1
            continue
        assert isinstance(reply.stop_reason, str) and reply.model.isprintable(), seed
        assert (reply.cost_usd is None) >= (reply.usage is None), seed
        assert list(answers.events(reply)) and list(responses_api.events(reply)), seed
    assert 0 < errors < ROUNDS
