"""Alerts to Slack by the real SDK: told once, in order, after outages, limits and restarts."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.errors import MachineError
from tests.emulators.slack import Call, SlackServer, Trouble, broken, rate_limited, refused
from tests.harness.sla.telling import Desk, desk, sla_file, to_slack

HOUR = 3600.0


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


def open_desk(slack: SlackServer, folder: Path):  # type: ignore[no-untyped-def]
    return desk(to_slack(slack), folder, SLACK_BOT_TOKEN=slack.bot_token)


async def delivered(at: Desk, until: Callable[[], bool]) -> None:
    """Let the deliveries run until it is so."""
    task = asyncio.create_task(at.alerting.deliver())
    async with asyncio.timeout(30):
        while not until():
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_violation_and_its_end_are_told(slack: SlackServer, tmp_path: Path) -> None:
    async with open_desk(slack, tmp_path) as at:
        at.see("error", "x")
        await delivered(at, lambda: not at.alerting.waiting)
        at.see("ok", "x", value=3)
        await delivered(at, lambda: not at.alerting.waiting)
    first, second = slack.texts
    assert "FIRING" in first and "x is 400, allowed up to 300" in first
    assert "resolved" in second and "x is 3" in second
    assert {m["channel"] for m in slack.messages} == {"#data"}


async def test_nothing_that_was_measured_becomes_a_link_or_wakes_the_channel(
    slack: SlackServer, tmp_path: Path
) -> None:
    async with open_desk(slack, tmp_path) as at:
        at.see("error", "x")
        at.restart()
        from dataclasses import replace

        at.latest["y"] = replace(
            at.latest["x"], sla="y", state="no_data", measured="no_data", value=None,
            detail="<!channel> <http://evil|click>",
        )  # fmt: skip
        at.alerting.take(["y"], at.latest)
        await at.alerting.flush()
    assert slack.messages
    assert not any("<" in text for text in slack.texts)
    assert any("&lt;!channel&gt;" in text for text in slack.texts)


async def test_what_fires_together_goes_out_together(slack: SlackServer, tmp_path: Path) -> None:
    async with open_desk(slack, tmp_path) as at:
        at.see("error", "x")
        at.see("error", "y")
        await delivered(at, lambda: not at.alerting.waiting)
    assert len(slack.messages) == 1
    assert len(slack.texts[0].splitlines()) == 2


@pytest.mark.parametrize(("told", "waited"), [(7, 7.0), (None, 30.0)])
async def test_429_is_obeyed(
    slack: SlackServer, tmp_path: Path, told: float | None, waited: float
) -> None:
    posts: list[Call] = []

    def trouble(call: Call) -> Trouble | None:
        posts.append(call)
        return rate_limited(told) if len(posts) <= 2 else None

    slack.trouble = trouble
    async with open_desk(slack, tmp_path) as at:
        at.see("error", "x")
        await delivered(at, lambda: not at.alerting.waiting)
        assert at.clock.slept.count(waited) == 2
    assert len(slack.messages) == 1


@pytest.mark.parametrize("kind", ["503", "gone"])
async def test_after_an_hour_it_hears_all_in_order_and_collapsed(
    slack: SlackServer, tmp_path: Path, kind: str
) -> None:
    async with open_desk(slack, tmp_path) as at:
        began = at.clock.time
        if kind == "gone":
            slack.stop()
            at.clock.at(began + HOUR, slack.start)
        else:
            slack.trouble = lambda _: broken() if at.clock.time < began + HOUR else None
        at.see("error", "x")
        for minutes, state, name in [
            (10, "error", "y"), (15, "ok", "x"), (30, "error", "x"), (40, "ok", "x"),
            (45, "ok", "y"), (50, "error", "y"),
        ]:  # fmt: skip
            at.clock.at(began + 60 * minutes, lambda s=state, n=name: at.see(s, n))  # type: ignore[misc]
        await delivered(at, lambda: not at.alerting.waiting and not at.clock.entries)
        assert max(at.clock.slept) <= 60
    # The first may have arrived when it failed, so that it keeps its key; the rest is one.
    assert 1 <= len(slack.messages) <= 2
    last = slack.texts[-1].splitlines()
    x = next(line for line in last if "x is" in line)
    y = next(line for line in last if "y is" in line)
    assert last.index(x) < last.index(y) or len(slack.messages) == 2
    assert x.rindex("resolved") > x.rindex("firing")
    assert y.startswith("[error] FIRING")
    assert y.index("firing") < y.index("resolved") < y.rindex("firing")


# -------------------------------------------------------- killed at each point of a delivery

LOST = Trouble(dropped=True)
ARRIVED = Trouble(dropped=True, after=True)
POINTS = {
    "before it was sent": None,
    "while it was on its way": LOST,
    "after it arrived, before anybody knew": ARRIVED,
    "after it was refused": refused("channel_not_found"),
    "after a limit": rate_limited(1),
    "after a failure of theirs": broken(),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("state", ["still violated", "over"])
async def test_a_restart_neither_loses_nor_repeats(
    slack: SlackServer, tmp_path: Path, point: str, state: str
) -> None:
    async with open_desk(slack, tmp_path) as at:
        at.see("error", "x")
        if POINTS[point] is not None:
            slack.trouble = lambda _: POINTS[point]
            await at.alerting.flush()
        at.restart()
        slack.trouble = lambda _: None
        at.see("error" if state == "still violated" else "ok", "x")
        await at.alerting.flush()
        at.restart()
        await at.alerting.flush()
        assert at.alerting.waiting == 0
    told = "\n".join(slack.texts).lower()
    assert told.count("[error] firing") + told.count(": firing") == 1
    assert ("resolved" in told) == (state == "over")
    keys = [m["metadata"]["event_payload"]["key"] for m in slack.messages]
    assert len(set(keys)) == len(keys)


async def test_without_the_right_to_read_it_rather_repeats_than_loses(
    slack: SlackServer, tmp_path: Path
) -> None:
    async with open_desk(slack, tmp_path) as at:
        at.see("error", "x")
        slack.trouble = lambda _: ARRIVED
        await at.alerting.flush()
        at.restart()
        blind = refused("missing_scope")
        slack.trouble = lambda c: blind if c.method == "conversations.history" else None
        await at.alerting.flush()
    keys = {m["metadata"]["event_payload"]["key"] for m in slack.messages}
    assert (len(slack.messages), len(keys)) == (2, 1)


async def test_a_route_that_is_down_holds_no_other_up(slack: SlackServer, tmp_path: Path) -> None:
    notify = {"default": ["slack", "log"], "slack": {"channel": "#x", "api_url": slack.api_url}}
    slack.trouble = lambda _: refused("invalid_auth")
    async with desk(sla_file(notify=notify), tmp_path, SLACK_BOT_TOKEN=slack.bot_token) as at:
        at.see("error", "x")
        await delivered(
            at, lambda: (tmp_path / "alerts.jsonl").exists() and bool(at.alerting.failures)
        )
        assert at.alerting.waiting == 1
        assert "invalid_auth" in at.alerting.failures["slack"]


async def test_a_missing_token_is_told_by_its_name(slack: SlackServer, tmp_path: Path) -> None:
    async with desk(to_slack(slack), tmp_path) as at:
        at.see("error", "x")
        await at.alerting.flush()
        assert "SLACK_BOT_TOKEN is not set" in at.alerting.failures["slack"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"book": 3, "waiting": []}', "\xff"])
async def test_a_memory_that_cannot_be_read_is_no_empty_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "alerts.json").write_text(text, encoding="latin-1")
    with pytest.raises(MachineError, match=r"alerts\.json: cannot be read .*move it away"):
        async with desk(sla_file(), tmp_path):
            pass
