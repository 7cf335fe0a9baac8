"""The real SDK against a Messages API server on a socket, through the whole spine."""

import asyncio
import functools
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.chat_completions import ChatServer
from tests.emulators.messages_api import (
    Fault,
    MessagesServer,
    broken,
    cut,
    malformed_call,
    out_of_credit,
    overloaded,
    rate_limited,
    stall,
    unauthorized,
)
from tests.spine.project import End, Project, until, wait

PRICED = {"input_tokens": 1000, "output_tokens": 20_000}  # 1 cent on haiku


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Writes the file that the feature asks for, then submits; decided by the request alone."""
    text = json.dumps(request["messages"][0])
    feature = text.partition('<feature id=\\"')[2].partition('\\"')[0]
    write = {"command": "create", "path": f"{feature}.txt", "text": f"{feature} done"}
    calls = [("edit", write), ("submit", {"summary": "done"})]
    name, given = calls[min(len(request["messages"]) // 2, 1)]
    return {"content": [{"type": "tool_use", "name": name, "input": given}], "usage": PRICED}


def live(project: Project, server: MessagesServer, *ids: str) -> None:
    project.project.pop("recording", None)
    project.env = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "any"}
    for id_ in ids:
        project.feature(id_)


async def run(project: Project, *flags: str) -> End:
    return await asyncio.to_thread(project.run, *flags)


@pytest.mark.long
async def test_faults_of_the_provider_are_ridden_out(project: Project) -> None:
    faults = {1: rate_limited(0.2), 3: overloaded(), 4: cut(), 6: malformed_call()}
    async with MessagesServer(answer, faults=faults) as server:
        live(project, server, "alpha", "beta")
        end = await run(project)
        assert server.errors == []
    assert end.code == 0, end
    assert sorted(project.merged()) == ["alpha", "beta"]
    errors = [e["error"].partition(":")[0] for e in project.events("ModelRetried")]
    assert sorted(errors) == [
        "ModelMalformedError", "ModelOverloadedError", "ModelRateLimitedError",
        "ModelTimeoutError",
    ]  # fmt: skip
    # Two replies were lost, and nobody knows what they cost.
    report = project.report()
    assert not report["cost_complete"]
    assert report["cost_usd"] > 0.03
    project.assert_nothing_left()


@pytest.mark.long
async def test_a_network_that_is_away_for_a_while_costs_nothing(project: Project) -> None:
    server = MessagesServer(answer)
    server.reserve()
    live(project, server, "alpha", "beta")
    process = project.start("--workers", "2")

    def tried() -> bool:
        return len(project.events("ModelRetried")) > 2 or process.poll() is not None

    try:
        await asyncio.to_thread(until, tried, "asked again")
        async with server:
            end = await asyncio.to_thread(wait, process)
    finally:
        process.kill()
    assert end.code == 0, end
    assert sorted(project.merged()) == ["alpha", "beta"]
    kinds = {e["error"].partition(":")[0] for e in project.events("ModelRetried")}
    assert kinds == {"ModelUnreachableError"}
    assert len(project.events("AttemptStarted")) == 2
    project.assert_no_attempt_twice()
    assert abs(project.report()["cost_usd"] - 4 * 0.0101) < 1e-9


@pytest.mark.parametrize("kind", [overloaded(), rate_limited()], ids=["529", "429"])
@pytest.mark.slow
async def test_a_provider_that_asks_for_too_long_a_wait_stops_the_run(
    project: Project, kind: Fault
) -> None:
    away = True

    def fault(_number: int, _request: dict[str, Any]) -> Fault | None:
        return replace(kind, headers={"retry-after": "99999"}) if away else None

    async with MessagesServer(answer, faults=fault) as server:
        live(project, server, "alpha", "beta")
        end = await run(project, "--workers", "2")
        assert end.code == 4, end
        assert "the same command goes on" in project.events()[-1]["reason"]
        assert project.events("AttemptFinished") == []
        away = False
        again = await run(project, "--workers", "2")
        assert again.code == 0, again
    assert sorted(project.merged()) == ["alpha", "beta"]
    assert len(project.runs) == 1
    project.assert_no_attempt_twice()
    assert abs(project.report()["cost_usd"] - 4 * 0.0101) < 1e-9


@pytest.mark.slow
async def test_what_one_conversation_alone_breaks_does_not_stop_the_run_for_ever(
    project: Project,
) -> None:
    def fault(_number: int, request: dict[str, Any]) -> Fault | None:
        hit = "Write alpha.txt" in json.dumps(request["messages"][0])
        return replace(broken(), headers={"retry-after": "9999"}) if hit else None

    async with MessagesServer(answer, faults=fault) as server:
        live(project, server, "alpha")
        project.feature("beta", priority=1)
        codes = [(await run(project, "--workers", "1")).code for _ in range(3)]
    assert codes == [4, 4, 1]
    assert project.states() == {"alpha": "failed", "beta": "merged"}
    (ended,) = (e for e in project.events("AttemptFinished") if e["feature"] == "alpha")
    assert ended["reason"].startswith("stopped the run 2 times, and would again: 500 api_error")
    assert len(project.runs) == 1
    project.assert_nothing_left()


@pytest.mark.long
async def test_an_address_that_is_none_is_refused_before_anything_begins(project: Project) -> None:
    project.project.pop("recording")
    project.feature("alpha")
    for address in ("localhost:8080", "api.example.com", "http://", "https://[", "ftp://host"):
        project.env = {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_API_KEY": "any"}
        end = await run(project)
        assert end.code == 2, address
        assert "ANTHROPIC_BASE_URL" in end.err
    assert not (project.workspace / "logs").exists()


@pytest.mark.slow
async def test_a_budget_stops_the_run_and_more_of_it_goes_on(project: Project) -> None:
    async with MessagesServer(answer) as server:
        live(project, server, "alpha", "beta")
        end = await run(project, "--budget", "0.016", "--workers", "1")
        assert end.code == 4, end
        assert project.report()["cost_usd"] <= 0.016
        assert project.events("LimitHit")
        assert project.events()[-1]["type"] == "RunStopped"
        paid = len(server.requests)
        assert paid == 1
        again = await run(project, "--budget", "5", "--workers", "1")
        assert again.code == 0, again
        assert len(server.requests) == 4
    assert sorted(project.merged()) == ["alpha", "beta"]
    assert len(project.runs) == 1
    project.assert_no_attempt_twice()
    assert abs(project.report()["cost_usd"] - 4 * 0.0101) < 1e-9


@pytest.mark.long
async def test_what_has_passed_when_the_budget_ends_is_merged(project: Project) -> None:
    project.defaults |= {"attempts": 2, "quorum": 2}
    async with MessagesServer(answer) as server:
        live(project, server, "alpha")
        project.feature("beta", "alpha")
        end = await run(project, "--budget", "0.025", "--workers", "1")
        assert end.code == 4, end
        assert len(server.requests) == 2
        assert project.states() == {"alpha": "merged", "beta": "skipped"}
        assert project.merged() == ["alpha"]
        assert [e["attempt"] for e in project.events("AttemptFinished")] == ["r1-a01"]
        again = await run(project, "--budget", "5", "--workers", "1")
        assert again.code == 0, again
        assert len(server.requests) == 6  # the rest of alpha's round is not paid for
    assert project.merged() == ["alpha", "beta"]
    assert project.report()["anomalies"] == []
    project.assert_no_attempt_twice()
    project.assert_nothing_left()


async def test_without_a_key_nothing_begins(project: Project) -> None:
    async with MessagesServer(answer) as server:
        live(project, server, "alpha")
        del project.env["ANTHROPIC_API_KEY"]
        end = await run(project)
    assert end.code == 5
    assert "export" in end.err
    assert server.requests == []
    assert project.runs == []


@pytest.mark.long
async def test_without_a_key_there_may_be_nothing_to_do(project: Project) -> None:
    async with MessagesServer(answer) as server:
        live(project, server, "alpha")
        assert (await run(project)).code == 0
    del project.env["ANTHROPIC_API_KEY"]
    end = await run(project)
    assert (end.code, end.err) == (0, "")
    assert "nothing to do" in end.out


@pytest.mark.long
async def test_a_key_that_is_refused_stops_the_run(project: Project) -> None:
    refused = True

    def fault(_number: int, _request: dict[str, Any]) -> Fault | None:
        return unauthorized() if refused else None

    async with MessagesServer(answer, faults=fault) as server:
        live(project, server, "alpha", "beta")
        end = await run(project, "--workers", "2", "--attempts", "3")
        assert end.code == 5, end
        assert 1 <= len(server.requests) <= 2
        assert project.events("AttemptFinished") == []
        refused = False
        again = await run(project, "--workers", "2", "--attempts", "3")
        assert again.code == 0, again
    assert sorted(project.merged()) == ["alpha", "beta"]


@pytest.mark.long
async def test_a_run_is_routed_climbs_with_its_reasons_and_can_be_replayed(
    project: Project, tmp_path: Path
) -> None:
    """Only opus writes the right thing. Attempts cost cents and a feature is worth dollars, so that
    sonnet is passed by; that an attempt was turned down is part of the recording."""

    def by_tier(request: dict[str, Any]) -> dict[str, Any]:
        said = answer(request)
        call = said["content"][0]
        if call["name"] == "edit" and "opus" not in request["model"]:
            call["input"] = {**call["input"], "text": "wrong"}
        return {**said, "usage": {"input_tokens": 1000, "output_tokens": 100}}

    async with MessagesServer(by_tier) as server:
        live(project, server, "alpha")
        project.entries[0]["description"] = (
            "Implement the text file that the others of this project wait for, and nothing else."
        )
        project.defaults["rounds"] = 3
        end = await run(project, "--record", str(tmp_path / "said"))
        assert end.code == 0, end
    rounds = project.events("RoundStarted")
    assert [r["tier"] for r in rounds] == ["haiku", "opus"]
    assert any("`implement`" in reason.lower() for reason in rounds[0]["reasons"])
    assert "goes up to opus" in rounds[1]["reasons"][0]
    started = project.events("AttemptStarted")
    assert [(a["tier"], a["model"]) for a in started] == [
        ("haiku", "claude-haiku-5-5"), ("opus", "claude-opus-5-5"),
    ]  # fmt: skip
    # Offline, from what was recorded: the same attempts, at what they cost then.
    again = Project(tmp_path / "again", project.cache)
    again.entries, again.defaults = project.entries, project.defaults
    again.project["recording"] = str(tmp_path / "said")
    assert again.run().code == 0
    facts = ("attempt", "turn", "model", "usage", "cost_usd")
    said, replayed = (
        [{name: call[name] for name in facts} for call in one.events("ModelCalled")]
        for one in (project, again)
    )
    assert replayed == said
    assert {began["source"] for began in again.events("AttemptStarted")} == {"recorded"}


@pytest.mark.long
@pytest.mark.slow
async def test_another_provider_stands_in_when_credit_is_used_up(project: Project) -> None:
    """In the middle of a conversation, over its own API; the run goes on and says so."""
    faults = dict.fromkeys(range(2, 50), out_of_credit())
    async with MessagesServer(answer, faults=faults) as first, ChatServer(answer) as second:
        live(project, first, "alpha")
        spare = {"api": "openai", "base_url": second.base_url, "key": "SPARE_KEY", "free": True}
        chains = {tier: [f"claude-{tier}-5-5", "spare/llama"] for tier in ("haiku", "sonnet")}
        given = {"providers": {"spare": spare}, "tiers": chains}
        (project.workspace / "models.yaml").write_text(json.dumps(given))
        refused = await run(project)
        assert refused.code == 5 and "SPARE_KEY is not set" in refused.err
        project.env["SPARE_KEY"] = "s-1"
        end = await run(project, "--budget", "1")
        assert end.code == 0, end
    models = [call["model"] for call in project.events("ModelCalled")]
    assert models == ["claude-haiku-5-5", "spare/llama"]
    assert any("spare/llama is asked" in w["message"] for w in project.events("WarningGiven"))
    assert project.report()["cost_usd"] == pytest.approx(0.0101)
    assert second.headers[0]["authorization"] == "Bearer s-1"


async def test_the_models_flag_holds_through_every_round(project: Project) -> None:
    def wrong(request: dict[str, Any]) -> dict[str, Any]:
        said = answer(request)
        if said["content"][0]["name"] == "edit":
            said["content"][0]["input"]["text"] = "wrong"
        return said

    async with MessagesServer(wrong) as server:
        live(project, server, "alpha")
        project.defaults["rounds"] = 2
        assert (await run(project, "--model", "sonnet")).code == 1
    rounds = project.events("RoundStarted")
    assert [r["tier"] for r in rounds] == ["sonnet", "sonnet"]
    assert "--model" in rounds[0]["reasons"][0]


@pytest.mark.long
async def test_what_a_stopped_run_had_asked_is_of_unknown_cost(project: Project) -> None:
    """Killed once and stopped once in the middle of a call: nobody knows what those cost."""
    async with MessagesServer(answer, faults={1: stall(), 2: stall()}) as server:
        live(project, server, "alpha")
        for number in (signal.SIGKILL, signal.SIGINT):
            asked, process = len(server.requests), project.start()
            try:
                await asyncio.to_thread(until, lambda a=asked: len(server.requests) > a, "asked")
                process.send_signal(number)
                if number == signal.SIGINT:
                    await asyncio.to_thread(until, lambda: project.events("DrainRequested"), "")
                    process.send_signal(number)
                await asyncio.to_thread(process.communicate)
            finally:
                process.kill()
        stopped = project.report()
        assert (stopped["cost_complete"], stopped["lost_calls"]) == (False, 2)
        assert stopped["lost_usd"] > 0
        end = await run(project)
        assert end.code == 0, end
        assert "2 calls of unknown cost, $" in end.out
    report = project.report()
    assert (report["cost_complete"], report["lost_calls"]) == (False, 2)
    assert report["cost_usd"] > 0


@pytest.mark.long
async def test_a_drain_does_not_wait_for_a_provider_that_is_away(project: Project) -> None:
    server = MessagesServer(answer)
    server.reserve()
    live(project, server, "alpha")
    process = project.start()
    try:
        tried = functools.partial(project.events, "ModelRetried")
        await asyncio.to_thread(until, lambda: len(tried()) > 1 or process.poll() is not None, "")
        process.send_signal(signal.SIGINT)
        end = await asyncio.to_thread(wait, process)
    finally:
        process.kill()
    assert end.code == 130, end
    async with server:
        assert (await asyncio.to_thread(project.run)).code == 0
    assert project.merged() == ["alpha"]
    project.assert_no_attempt_twice()
