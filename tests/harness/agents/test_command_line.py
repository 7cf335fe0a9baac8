"""A program of its own as an agent: a script stands for it, the proxy and gateway are real."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agents.command_line import OUTPUT, CommandLineAgent, rules
from harness.agents.programs import Program, ending_of, filled, load
from harness.agents.prompts import feature_section, section_digest
from harness.agents.transcript import NAME, Transcript
from harness.models.gateway import Gateway
from harness.models.proxy import ModelProxy
from harness.models.recording import recording
from harness.ports import SandboxLimits
from harness.record.clock import SystemClock
from orchestrator import errors as e
from orchestrator.values import AttemptLimits, Usage
from tests.harness.agents.workbench import FEATURE, FolderSandbox, ScriptModel, Seen, task, text

#: Asks `turns` times and says what it was told in the end.
SCRIPT = """\
import json, os, sys, urllib.request, urllib.error
url, token, turns = sys.argv[1:4]
for _ in range(int(turns)):
    body = {"model": "mine", "max_tokens": 10, "tools": [{"name": "t"}],
            "messages": [{"role": "user", "content": sys.argv[4]}]}
    asked = urllib.request.Request(url + "/v1/messages", json.dumps(body).encode(),
                                   {"x-api-key": token})
    try:
        said = json.load(urllib.request.urlopen(asked))
    except urllib.error.HTTPError as error:
        print("refused:", json.load(error)["error"]["message"])
        sys.exit(3)
print(said["content"][0]["text"])
"""


class Bench:
    def __init__(self, folder: Path, *answers, turns: int = 2, **options) -> None:
        self.folder = folder
        self.model = ScriptModel(*answers, **options)
        self.gateway = Gateway(self.model, SystemClock())
        self.proxy = ModelProxy()
        self.sandbox = FolderSandbox(folder / "work")
        self.seen = Seen()
        words = (sys.executable, "-c", SCRIPT, "{url}", "{token}", str(turns), "{prompt}")
        program = Program("mine", words)
        self.agent = CommandLineAgent(
            program, self.gateway, self.proxy, SystemClock(), jitter=lambda: 0.0
        )

    async def work(self, **options):
        try:
            given = task(self.folder / "log", **options)
            return await self.agent.work(given, self.sandbox, self.seen.observer())
        finally:
            await self.proxy.close()


async def test_a_program_works_and_is_metered(tmp_path):
    bench = Bench(tmp_path, [text("one")], [text("two")], cost=0.25)
    done = await bench.work()
    assert (done.ending, done.reason, done.turns) == ("submitted", "two", 2)
    assert (done.usage, done.cost_usd) == (Usage(20, 10), 0.5)
    assert bench.seen.called == [1, 2] and bench.seen.commands == [("mine", 0)]
    assert [request.turn for request in bench.model.requests] == [1, 2]
    assert {request.model for request in bench.model.requests} == {"test-haiku"}
    said = bench.model.requests[0].messages[0]["content"]
    assert said[0]["text"].startswith('<feature id="greet">')
    assert (tmp_path / "log" / OUTPUT).read_text() == "two\n"
    kept = recording(Transcript(tmp_path / "log" / NAME), "a run")
    assert kept is not None and kept["task"] == section_digest(feature_section(FEATURE))
    assert [(turn["content"], turn["cost_usd"]) for turn in kept["turns"]] == [
        ([text("one")], 0.25), ([text("two")], 0.25)
    ]  # fmt: skip


async def test_what_is_finished_is_not_run_again(tmp_path):
    first = await Bench(tmp_path, [text("one")]).work()
    again = Bench(tmp_path, AssertionError("asked"))
    assert await again.work() == first


async def test_turns_money_and_tokens_cut_it_off(tmp_path):
    limits = AttemptLimits(turns=2, seconds=60)
    done = await Bench(tmp_path / "a", [text("x")], turns=9).work(limits=limits)
    assert (done.ending, done.reason, done.turns) == ("limit", "2 turns used", 2)
    bench = Bench(tmp_path / "b", [text("x")], turns=9, worst=0.4, cost=0.3)
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=60, usd=1.0))
    assert (done.ending, done.turns) == ("limit", 3) and "budget" in done.reason
    bench = Bench(tmp_path / "c", [text("x")], turns=9)
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=60, tokens=30))
    assert (done.ending, done.turns) == ("limit", 2) and "tokens" in done.reason


async def test_time_cuts_it_off(tmp_path):
    bench = Bench(tmp_path)
    words = (sys.executable, "-c", "import time; time.sleep(60)")
    bench.agent = CommandLineAgent(
        Program("slow", words), bench.gateway, bench.proxy, SystemClock()
    )
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=0.2))
    assert done.ending == "limit" and "minutes used" in done.reason


async def test_errors_are_ridden_out_for_it_and_what_concerns_the_run_is_raised(tmp_path):
    limited = e.ModelRateLimitedError("429", retry_after=0.01)
    done = await Bench(tmp_path / "a", limited, [text("x")], turns=1).work()
    assert done.ending == "submitted"
    with pytest.raises(e.ModelUnauthorizedError):
        await Bench(tmp_path / "b", [text("x")], e.ModelUnauthorizedError("key")).work()
    later = Bench(tmp_path / "b", [text("y")], turns=1)
    done = await later.work()
    assert (done.ending, done.turns) == ("submitted", 2)
    notes = Transcript(tmp_path / "b" / "log" / NAME).of("note")
    assert [note["kind"] for note in notes] == ["resumed"]


async def test_a_program_that_fails_says_so(tmp_path):
    done = await Bench(tmp_path, e.ModelRefusedError("no"), turns=1).work()
    assert done.ending == "error" and "ModelRefusedError: no" in done.reason


async def test_its_sandbox_may_reach_the_proxy_besides_what_the_run_allows(tmp_path):
    bench = Bench(tmp_path)
    limits = SandboxLimits(memory_mb=77, allow=("pypi.org",))
    agent = CommandLineAgent(
        Program("p", ("x",)), bench.gateway, bench.proxy, SystemClock(), limits=limits
    )
    port = await bench.proxy.port()
    asked = await agent.sandbox_limits(FEATURE)
    await bench.proxy.close()
    assert asked == replace(limits, allow=("pypi.org", f"127.0.0.1:{port}"))


# ------------------------------------------------------------------- programs


def test_a_workspace_adds_programs_and_replaces_the_shipped(tmp_path):
    assert list(load(tmp_path)) == ["claude-code", "codex", "opencode", "aider"]
    (tmp_path / "agents.yaml").write_text("mine: {command: [run, '{prompt}'], env: {A: 1}}\n")
    found = load(tmp_path)
    assert found["mine"] == Program("mine", ("run", "{prompt}"), {"A": "1"})
    assert found["claude-code"].output == "claude"


@pytest.mark.parametrize(
    "bad",
    ["[]", "mine: {}", "mine: {command: 7}", "mine: {command: [x], output: xml}",
     "mine: {command: [x], shell: true}", "{"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(tmp_path, bad):
    (tmp_path / "agents.yaml").write_text(bad)
    with pytest.raises(e.InputError, match=r"agents\.yaml cannot be read"):
        load(tmp_path)


def test_a_program_that_is_not_there_says_how_to_get_it():
    with pytest.raises(e.MachineError, match="pip install no-such-package"):
        Program("x", ("x",), binary="no-such-binary", package="no_such_package").find()


def test_placeholders_are_filled_and_other_braces_stay():
    values = {"url": "{token}", "token": "T", "prompt": "{url} {x}", "brief": "{token}"}
    words = {"{prompt}": "{url} {x}", "at {url}/v1": "at {token}/v1", "{x}": "{x}", "": "",
             "{brief}": "{token}", "sh -c {prompt}": "sh -c {prompt}",
             '{"u": "{url}", "k": "{token}"}': '{"u": "{token}", "k": "T"}'}  # fmt: skip
    assert {word: filled(word, values) for word in words} == words


CLAUDE = Program("c", ("c",), output="claude")


@pytest.mark.parametrize(
    ("status", "out", "ending"),
    [
        (0, '{"type":"result","subtype":"success","is_error":false,"result":"ok"}', "submitted"),
        (1, '{"type":"result","subtype":"error_max_turns","num_turns":3}', "limit"),
        (1, '{"type":"result","subtype":"success","is_error":true,"result":"API Error"}', "error"),
        (1, "no JSON at all", "error"),
        (0, '{"type":"system"}\n', "error"),
    ],
)
def test_the_last_result_says_how_claude_ended(status, out, ending):
    assert ending_of(CLAUDE, status, out + "\n")[0] == ending


def test_what_is_protected_and_learned_is_told(tmp_path):
    said = rules(task(tmp_path, lessons=("the file was empty",)))
    assert "tests/acceptance/*" in said and "the file was empty" in said
    assert "`submit`" not in said
