"""What the agent is told, and how a conversation is kept within bounds."""

import json
from dataclasses import replace

import pytest

from harness.agents import context
from harness.agents.prompts import feature_section, find_section, first_message, section_digest
from orchestrator.values import Usage
from tests.harness.agents.workbench import FEATURE, bash, task, text


def test_a_feature_reads_as_the_user_wrote_it():
    assert feature_section(FEATURE) == (
        '<feature id="greet">\nWrite hello.txt.\n\nSteps:\n1. make the file\n\n'
        "Acceptance commands, run at the root of the repository; each must exit 0:\n"
        "- true\n\nScope, the files you are expected to change:\n- *.txt\n</feature>"
    )


def test_what_changes_during_a_run_does_not_change_the_section():
    moved = replace(FEATURE, passes=True, priority=9, attempts=3, tier="opus", budget_usd=1.0)
    assert section_digest(feature_section(moved)) == section_digest(feature_section(FEATURE))
    other = replace(FEATURE, acceptance=("false",))
    assert section_digest(feature_section(other)) != section_digest(feature_section(FEATURE))


@pytest.mark.parametrize("lessons", [(), ("it failed",)])
def test_the_section_is_found_in_the_first_message(tmp_path, lessons):
    first = first_message(task(tmp_path, lessons=lessons))
    assert find_section([first, {"role": "user", "content": "x"}]) == feature_section(FEATURE)
    section = feature_section(FEATURE)
    brief = {"type": "text", "text": f'rules\n\n<feature id="other">x</feature>\n\n{section}\n'}
    assert find_section([{"role": "user", "content": [text("cwd"), brief]}]) == section
    assert find_section([]) is None
    assert find_section([{"role": "user", "content": "hello"}]) is None


def test_context_and_protected_files_come_before_the_feature(tmp_path):
    repository, feature, closing = first_message(task(tmp_path))["content"]
    assert "A repository of one file." in repository["text"]
    assert "tests/acceptance/*" in repository["text"]
    assert "cache_control" in feature and "cache_control" not in repository
    assert closing == {"type": "text", "text": "Implement the feature above."}


def conversation(turns: int, size: int) -> list[dict]:
    messages = [{"role": "user", "content": [text("task")]}]
    for n in range(turns):
        messages.append({"role": "assistant", "content": [bash("ls", name_id=f"t{n}")]})
        answer = {"type": "tool_result", "tool_use_id": f"t{n}", "content": [text("x" * size)]}
        messages.append({"role": "user", "content": [answer]})
    return messages


def test_what_fits_is_left_alone():
    messages = conversation(5, 100)
    assert context.to_shorten(messages, 0, 10_000) == 0
    assert context.shorten(messages, 0) == messages


def test_the_oldest_output_goes_first_and_the_newest_stays():
    messages = conversation(20, 1_000)
    count = context.to_shorten(messages, 0, 15_000)
    short = context.shorten(messages, count)
    assert context.size(short) <= 15_000 * 0.6
    assert short[0] == messages[0] and short[-6:] == messages[-6:]
    assert short[2]["content"][0]["content"][0]["text"] == context.REMOVED
    assert [m["role"] for m in short] == [m["role"] for m in messages]


def test_shortening_is_rare_and_keeps_the_prefix_between():
    counts, already = set(), 0
    for turns in range(1, 60):
        already = context.to_shorten(conversation(turns, 15_000), already)
        counts.add(already)
    assert 1 < len(counts) < 10  # of 59 turns


def test_nothing_more_can_be_shortened_than_there_is():
    messages = conversation(2, 10_000)
    assert context.to_shorten(messages, 0, 100) == 0


def test_the_breakpoint_stands_at_the_end_and_the_original_is_untouched():
    messages = conversation(2, 10)
    marked = context.with_breakpoint(messages)
    assert marked[-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in messages[-1]["content"][-1]
    assert marked[:-1] == messages[:-1]


def test_the_bound_on_tokens_is_the_last_count_and_a_token_for_each_new_byte():
    messages = conversation(3, 400)
    assert context.input_bound(messages, None) is None
    bound = context.input_bound(messages, Usage(input=100, output=7, cache_read=20, cache_write=3))
    new = sum(len(json.dumps(m, ensure_ascii=False).encode()) for m in messages[-2:])
    assert 123 + new <= bound < 123 + new + 10
