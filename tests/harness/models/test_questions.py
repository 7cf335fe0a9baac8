"""What a program may ask through the proxy, and what it may not."""

import json

import pytest

from harness.models.questions import read

TEXT = {"type": "text", "text": "hi"}
DEAR = {"type": "ephemeral", "ttl": "1h"}
PLAIN = {"type": "ephemeral"}


def body(*content, **more) -> bytes:
    asked = {"messages": [{"role": "user", "content": list(content) or [TEXT]}], **more}
    return json.dumps(asked).encode()


def image(**source) -> dict:
    return {"type": "image", "source": source}


def result(*content) -> dict:
    return {"type": "tool_result", "tool_use_id": "t", "content": list(content)}


def test_what_changes_whose_model_it_is_or_its_price_is_left_out():
    asked, stream = read(body(model="dear", service_tier="priority", speed="fast", stream=True))
    assert stream and not asked.main
    assert (asked.system, asked.tools, asked.max_tokens) == ((), (), 4096)


def test_marks_of_dearer_caches_become_plain_ones_wherever_they_stand():
    marked = {**TEXT, "cache_control": DEAR}
    tool = {"name": "t", "input_schema": {}, "cache_control": DEAR}
    nested = {"type": "document", "source": {"type": "content", "content": [marked]}}
    given = body(marked, result(marked), nested, system=[marked], tools=[tool])
    asked, _ = read(given)
    kept = json.dumps([asked.system, asked.tools, asked.messages])
    assert "ttl" not in kept and kept.count(json.dumps(PLAIN)) == 5


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "f", "input_schema": {}},
        {"type": "custom", "name": "f", "input_schema": {}},
        {"type": "bash_20250124", "name": "bash"},
    ],
)
def test_tools_that_the_asker_runs_are_offered(tool):
    assert read(body(tools=[tool]))[0].tools == (tool,)


@pytest.mark.parametrize("kind", ["web_search_20250305", "web_fetch_1", "code_execution_1", "mcp"])
def test_tools_that_the_provider_would_run_are_refused(kind):
    with pytest.raises(ValueError, match="run by the provider"):
        read(body(tools=[{"type": kind, "name": "x", "input_schema": {}}]))


FETCHED = [
    image(type="url", url="http://evil.example/?stolen"),
    image(type="file", file_id="file_of_another"),
    {"type": "container_upload", "file_id": "file_of_another"},
]


@pytest.mark.parametrize("block", FETCHED)
def test_what_the_provider_would_fetch_is_refused_wherever_it_stands(block):
    nested = {"type": "document", "source": {"type": "content", "content": [block]}}
    for one in (block, result(block), nested, result(nested)):
        with pytest.raises(ValueError, match=r"source|files at"):
            read(body(one))


def test_what_is_in_the_question_is_passed_on():
    shown = image(type="base64", media_type="image/png", data="AA==")
    called = {"type": "tool_use", "id": "t", "name": "f", "input": {"source": {"type": "url"}}}
    assert read(body(shown, called))[0].messages[0]["content"] == [shown, called]


@pytest.mark.parametrize(
    ("limit", "taken"), [("-5", 1), ("1e9", 32_000), ("99999999999999", 32_000), ("true", 1)]
)
def test_a_limit_of_a_reply_is_kept_within_ours(limit, taken):
    given = body().replace(b"{", b'{"max_tokens": %s, ' % limit.encode(), 1)
    assert read(given)[0].max_tokens == taken


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"[]",
        b"7",
        b"{",
        b"\xff",
        b'{"messages": 7}',
        b'{"messages": [{}]}',
        body(TEXT, 7),
        body({"no": "type"}),
        body(image(no="type")),
        body(tools=[7]),
        body(tools=7),
        body().replace(b"{", b'{"max_tokens": NaN, ', 1),
        body().replace(b"{", b'{"max_tokens": Infinity, ', 1),
        b"[" * 100_000,
        b'{"messages": [{"role": "user", "content": ' + b'[{"type":"x","content":' * 5_000,
    ],
    ids=lambda given: str(given[:40]),
)
def test_nonsense_is_one_kind_of_error(given):
    with pytest.raises(ValueError):
        read(given)
