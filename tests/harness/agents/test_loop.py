"""The loop as its callers see it: what it asks, what it runs, how it ends, what it charges."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agents.loop import BuiltinAgent
from harness.agents.transcript import NAME
from harness.ports import ModelReply
from orchestrator.errors import (
    ModelContextTooLongError,
    ModelMalformedError,
    ModelOverloadedError,
    ModelQuotaExhaustedError,
    ModelRateLimitedError,
    ModelRefusedError,
    ModelTimeoutError,
    ModelUnauthorizedError,
    ModelUnreachableError,
    SandboxGoneError,
)
from orchestrator.values import AttemptLimits, AttemptResult, Usage
from tests.harness.agents.workbench import (
    FEATURE,
    KEY,
    FolderSandbox,
    ScriptModel,
    Seen,
    StepClock,
    bash,
    call,
    submit,
    task,
    text,
)


class Bench:
    """One attempt with everything around it."""

    def __init__(self, folder: Path, *answers, clock: StepClock | None = None, **options) -> None:
        self.folder = folder
        self.model = ScriptModel(*answers, **options)
        self.sandbox = FolderSandbox(folder / "work")
        self.clock = clock or StepClock()
        self.seen = Seen()

    async def work(self, **options) -> AttemptResult:
        agent = BuiltinAgent(self.model, self.clock, jitter=lambda: 1.0)
        return await agent.work(
            task(self.folder / "log", **options), self.sandbox, self.seen.observer()
        )

    def lines(self, kind: str) -> list[dict]:
        whole = (self.folder / "log" / NAME).read_text().splitlines()
        return [line for line in map(json.loads, whole) if line["type"] == kind]


async def test_works_until_it_submits(tmp_path):
    bench = Bench(tmp_path, [text("hi"), bash("echo hello > hello.txt; ls")], [submit("made it")])
    done = await bench.work()
    assert (done.ending, done.reason, done.turns) == ("submitted", "made it", 2)
    assert done.key == KEY and done.patch is None
    assert done.usage == Usage(20, 10) and done.cost_usd == 0.0
    assert bench.sandbox.files() == {"hello.txt": "hello\n"}
    assert bench.seen.called == [1, 2]
    assert bench.seen.commands == [("echo hello > hello.txt; ls", 0)]
    answer = bench.model.requests[1].messages[-1]["content"][0]
    assert answer["content"] == [{"type": "text", "text": "hello.txt"}]
    assert [line["type"] for line in map(json.loads, _transcript(tmp_path))] == [
        "start", "reply", "results", "reply", "results", "end",
    ]  # fmt: skip


async def test_a_finished_transcript_answers_without_asking(tmp_path):
    first = await Bench(tmp_path, [submit()]).work()
    again = Bench(tmp_path, AssertionError("asked"))
    assert await again.work() == first
    assert again.model.requests == []


async def test_calls_of_one_reply_run_in_order_and_none_after_a_submit(tmp_path):
    calls = [bash("echo 1 >> log", name_id="a"), bash("echo 2 >> log", name_id="b"), submit(),
             bash("echo 3 >> log", name_id="c")]  # fmt: skip
    bench = Bench(tmp_path, calls)
    assert (await bench.work()).ending == "submitted"
    assert bench.sandbox.files() == {"log": "1\n2\n"}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (call("bash"), "`command` is missing"),
        (call("bash", command=7), "`command` must be text"),
        (call("bash", command="a\0b"), "not valid text"),
        (call("bash", command="\ud800"), "not valid text"),
        (call("bash", command="ls", shell="zsh"), "unknown field `shell`"),
        ({**call("bash"), "input": "ls"}, "must be an object"),
        (call("browse", url="x"), "there is no tool 'browse'"),
        (call("edit", path="x"), "`command` must be one of view, create, replace, insert"),
        (call("edit", command="create", path="x"), "`text` is missing"),
        (call("edit", command="view", path="../x"), "not a file inside the repository"),
        (call("edit", command="view", path="/etc/passwd"), "not a file inside the repository"),
        (call("edit", command="view", path="none.txt"), "does not exist"),
        (call("edit", command="insert", path="x", line=True, text="t"), "must be a number"),
        (call("submit"), "`summary` is missing"),
    ],
)
async def test_a_malformed_call_is_answered_not_raised(tmp_path, bad, words):
    bench = Bench(tmp_path, [bad], [submit()])
    assert (await bench.work()).ending == "submitted"
    answer = bench.model.requests[1].messages[-1]["content"][0]
    assert answer["is_error"] is True
    assert words in answer["content"][0]["text"]


async def test_silence_is_reminded_once_and_ends_the_second_time(tmp_path):
    bench = Bench(tmp_path, [text("thinking")])
    done = await bench.work()
    assert (done.ending, done.reason, done.turns) == ("limit", "stopped calling tools", 2)
    assert "You called no tool" in bench.model.requests[1].messages[-1]["content"][0]["text"]


async def test_a_reply_cut_at_its_limit_is_told_so(tmp_path):
    cut = ModelReply((text(""),), "max_tokens", "m", Usage(1, 1), 0.0)
    bench = Bench(tmp_path, cut, [submit()])
    assert (await bench.work()).ending == "submitted"
    asked = bench.model.requests[1].messages
    assert "cut off" in asked[-1]["content"][0]["text"]
    assert asked[-2]["content"] == [{"type": "text", "text": "(no words)"}]


async def test_turns_are_limited(tmp_path):
    bench = Bench(tmp_path, [bash("true")])
    done = await bench.work(limits=AttemptLimits(turns=3, seconds=600))
    assert (done.ending, done.reason, done.turns) == ("limit", "3 turns used", 3)
    assert len(bench.sandbox.commands) == 3


async def test_tokens_are_limited(tmp_path):
    bench = Bench(tmp_path, [bash("true")])
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=600, tokens=30))
    assert (done.ending, done.turns) == ("limit", 2)
    assert "30 tokens" in done.reason


async def test_time_is_limited(tmp_path):
    bench = Bench(tmp_path, [bash("true")], clock=StepClock(step=10))
    done = await bench.work(limits=AttemptLimits(turns=1000, seconds=300))
    assert done.ending == "limit" and "5.0 minutes" in done.reason


async def test_waiting_for_the_provider_is_not_charged(tmp_path):
    limited = ModelRateLimitedError("slow down", retry_after=400)
    bench = Bench(tmp_path, limited, limited, [submit()])
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=60))
    assert done.ending == "submitted"
    assert done.seconds == 0 and sum(bench.clock.slept) >= 800
    assert [wait >= 400 for _, wait in bench.seen.retried] == [True, True]
    assert bench.seen.retried[0][0].startswith("ModelRateLimitedError: slow down")


@pytest.mark.parametrize(
    "error", [ModelOverloadedError("x"), ModelTimeoutError("x"), ModelMalformedError("x")]
)
async def test_errors_that_pass_are_asked_again(tmp_path, error):
    bench = Bench(tmp_path, error, error, [submit()])
    assert (await bench.work()).ending == "submitted"
    assert [request.turn for request in bench.model.requests] == [1, 1, 1]


@pytest.mark.parametrize(
    ("error", "tries"), [(ModelRefusedError("no"), 1), (ModelMalformedError("bad"), 3)]
)
async def test_errors_that_stay_end_the_attempt(tmp_path, error, tries):
    bench = Bench(tmp_path, error)
    done = await bench.work()
    assert done.ending == "error" and type(error).__name__ in done.reason
    assert len(bench.model.requests) == tries


@pytest.mark.parametrize("error", [ModelUnauthorizedError("key"), ModelQuotaExhaustedError("pay")])
async def test_what_concerns_the_run_is_raised_and_the_attempt_can_go_on_later(tmp_path, error):
    with pytest.raises(type(error)):
        await Bench(tmp_path, [bash("echo 1 >> log")], error).work()
    later = Bench(tmp_path, [submit()])
    done = await later.work()
    assert (done.ending, done.turns) == ("submitted", 2)
    assert later.sandbox.files() == {"log": "1\n"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModelUnreachableError("host: refused"), "model unreachable for 58 min (host: refused)"),
        (ModelOverloadedError("529"), "provider failing for 14 min (529)"),
    ],
)
async def test_an_outage_that_stays_is_raised_and_the_attempt_can_go_on_later(
    tmp_path, error, words
):
    bench = Bench(tmp_path, [bash("echo 1 >> log")], error)
    with pytest.raises(type(error)) as caught:
        await bench.work(limits=AttemptLimits(turns=9, seconds=60))
    assert str(caught.value).startswith(words)
    assert "the same command goes on" in str(caught.value)
    assert len(bench.model.requests) > 10 and bench.lines("end") == []
    later = Bench(tmp_path, [submit()])
    done = await later.work(limits=AttemptLimits(turns=9, seconds=60))
    assert (done.ending, done.turns, done.cost_usd) == ("submitted", 2, 0.0)
    assert done.seconds == 0


async def test_a_demand_beyond_patience_does_not_claim_minutes_of_trying(tmp_path):
    with pytest.raises(ModelOverloadedError, match=r"^provider failing \(come back"):
        await Bench(tmp_path, ModelOverloadedError("come back", retry_after=9e3)).work()


async def test_the_time_it_takes_to_find_no_connection_is_not_charged(tmp_path):
    """Without an answer to the handshake each try hangs until its own time-out."""
    clock = StepClock()

    class Hanging(ScriptModel):
        async def reply(self, request):
            if len(self.requests) < 20:
                await clock.sleep(15)
            return await super().reply(request)

    bench = Bench(tmp_path, clock=clock)
    bench.model = Hanging(*[ModelUnreachableError("x")] * 20, [submit()])
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=60))
    assert (done.ending, done.seconds) == ("submitted", 0)
    assert sum(clock.slept) > 20 * 15


async def test_a_dead_sandbox_is_our_failure(tmp_path):
    bench = Bench(tmp_path, [bash("true")])
    await bench.sandbox.destroy()
    with pytest.raises(SandboxGoneError):
        await bench.work()


async def test_money_is_limited_without_a_book(tmp_path):
    bench = Bench(tmp_path, [bash("true")], worst=0.4, cost=0.3)
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=600, usd=1.0))
    assert (done.ending, done.turns) == ("limit", 3)  # .6 + .4 fits, .9 + .4 does not
    assert done.cost_usd == pytest.approx(0.9)
    assert "budget" in done.reason


async def test_an_unknown_price_fails_closed_under_a_cap_only(tmp_path):
    bench = Bench(tmp_path / "a", [submit()], worst=None, cost=None)
    done = await bench.work(limits=AttemptLimits(turns=9, seconds=600, usd=1.0))
    assert done.ending == "limit" and "price of the model is unknown" in done.reason
    assert bench.model.requests == []
    free = await Bench(tmp_path / "b", [submit()], worst=None, cost=None).work()
    assert free.ending == "submitted" and free.cost_usd is None


async def test_a_conversation_too_long_is_shortened_and_asked_again(tmp_path):
    long = [[bash(f"head -c 15000 /dev/zero | tr '\\0' {x}")] for x in "abcdefgh"]
    too_long = ModelContextTooLongError("prompt is too long")
    bench = Bench(tmp_path, *long, too_long, [submit()])
    done = await bench.work(limits=AttemptLimits(turns=20, seconds=600))
    assert done.ending == "submitted"
    before, after = (len(json.dumps(r.messages)) for r in bench.model.requests[-2:])
    assert after < before * 0.6
    assert bench.lines("note")[0]["kind"] == "shortened"


async def test_a_conversation_that_cannot_be_shortened_ends(tmp_path):
    done = await Bench(tmp_path, ModelContextTooLongError("prompt is too long")).work()
    assert done.ending == "limit" and "no longer fits" in done.reason


async def test_cancellation_passes_and_the_transcript_stays_valid(tmp_path):
    bench = Bench(tmp_path, [bash("echo started > log; sleep 60")], [submit()])
    work = asyncio.create_task(bench.work())
    while not (tmp_path / "work" / "log").exists():
        await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    again = Bench(tmp_path, [submit()])
    assert (await again.work()).ending == "submitted"
    answer = again.model.requests[0].messages[-1]["content"][0]
    assert answer["is_error"] and "interrupted" in answer["content"][0]["text"]


async def test_the_shared_prefix_is_the_same_for_every_attempt_and_lessons_follow_it(tmp_path):
    one, two = Bench(tmp_path / "1", [submit()]), Bench(tmp_path / "2", [submit()])
    await one.work()
    await two.work(lessons=("the file was empty",))
    a, b = one.model.requests[0], two.model.requests[0]
    assert a.system == b.system and a.tools == b.tools
    assert a.system[-1]["cache_control"] == {"type": "ephemeral"}
    first, second = a.messages[0]["content"], b.messages[0]["content"]
    assert first[:-1] == second[:-1] and first[-2]["cache_control"] == {"type": "ephemeral"}
    assert "the file was empty" in second[-1]["text"]


def _transcript(folder: Path) -> list[str]:
    return (folder / "log" / NAME).read_text().splitlines()


async def test_an_attempt_that_goes_round_in_circles_ends_and_says_why(tmp_path):
    bench = Bench(tmp_path, [bash("true")])
    done = await bench.work(limits=AttemptLimits(turns=1000, seconds=6000))
    assert (done.ending, done.turns) == ("limit", 4)
    assert "same calls with the same results 4 times" in done.reason


# ------------------------------------------------------- before a submit is taken

CHECKED = replace(FEATURE, acceptance=("true", "echo looked; grep -q good made"))


async def test_work_that_fails_its_acceptance_is_turned_down_once_with_the_reason(tmp_path):
    bench = Bench(tmp_path, [submit("a")], [bash("echo good > made")], [submit("b")])
    done = await bench.work(feature=CHECKED)
    assert (done.ending, done.reason, done.turns) == ("submitted", "b", 3)
    told = bench.model.requests[1].messages[-1]["content"][0]
    assert told["is_error"] is True
    assert "`echo looked; grep -q good made` fails here:\nlooked" in told["content"][0]["text"]


async def test_the_second_submit_is_taken_as_it_is(tmp_path):
    bench = Bench(tmp_path, [submit("a")], [submit("it cannot pass")])
    done = await bench.work(feature=CHECKED)
    assert (done.reason, done.turns) == ("it cannot pass", 2)
    assert sum("grep" in str(command) for command in bench.sandbox.commands) == 1


async def test_a_submit_with_no_turn_left_is_taken(tmp_path):
    bench = Bench(tmp_path, [bash("true")], [submit("a")])
    done = await bench.work(feature=CHECKED, limits=AttemptLimits(turns=2, seconds=600))
    assert (done.ending, done.reason) == ("submitted", "a")


async def test_what_a_person_wrote_as_a_models_words_is_not_turned_down(tmp_path):
    bench = Bench(tmp_path, [submit("a")])
    bench.model.source = "scripted"
    assert (await bench.work(feature=CHECKED)).turns == 1
    assert bench.sandbox.commands == []


async def test_an_acceptance_without_end_says_nothing(tmp_path):
    bench = Bench(tmp_path, [submit("a")], clock=StepClock())
    endless = replace(FEATURE, acceptance=("sleep 60",))
    done = await bench.work(feature=endless, limits=AttemptLimits(turns=5, seconds=1))
    assert (done.reason, done.turns) == ("a", 1)


async def test_views_in_a_row_run_at_once_and_are_answered_in_order(tmp_path):
    def view(name: str) -> dict:
        return call("edit", name_id=name, command="view", path=name)

    bench = Bench(
        tmp_path,
        [bash("echo 1 > a; echo 2 > b", name_id="w"), view("a"), view("b"), view("c"),
         bash("echo 3 > c", name_id="x"), view("c") | {"id": "again"}],
        [submit()],
    )  # fmt: skip
    at_once = []
    download = bench.sandbox.download

    async def watched(path: str, *, limit: int = 64_000_000) -> bytes:
        at_once.append(path)
        await asyncio.sleep(0)
        here = len(at_once)
        try:
            return await download(path, limit=limit)
        finally:
            at_once.append(f"{path} after {here}")

    bench.sandbox.download = watched
    assert (await bench.work()).ending == "submitted"
    answers = bench.model.requests[1].messages[-1]["content"]
    assert [a["tool_use_id"] for a in answers] == ["w", "a", "b", "c", "x", "again"]
    texts = [a["content"][0]["text"] for a in answers]
    assert texts[1:3] == ["     1\t1", "     1\t2"] and "does not exist" in texts[3]
    assert texts[5] == "     1\t3"
    assert at_once[:3] == ["a", "b", "c"]
