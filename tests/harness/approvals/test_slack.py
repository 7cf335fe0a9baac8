"""Approvals by the real Bolt app and SDK, over Socket Mode and HTTP, against a local Slack."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import BoltRequest
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from harness.approvals.slack import SlackDesk, disconnect
from harness.approvals.store import ApprovalStore
from harness.record.clock import SystemClock
from tests.emulators.slack import Call, SlackServer, rate_limited
from tests.harness.approvals.asking import only, store_with


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


class Counted:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def desk(slack: SlackServer, store: ApprovalStore, decided: Counted | None = None) -> SlackDesk:
    client = WebClient(token=slack.bot_token, base_url=slack.api_url)
    return SlackDesk(store, SystemClock(), client, "#deploys", decided or Counted())


@contextlib.contextmanager
def connected(slack: SlackServer, desk: SlackDesk) -> Iterator[None]:
    app = desk.app(signing_secret=slack.signing_secret)
    # How often it looks whether the connection stands: seconds, where the default is ten.
    handler = SocketModeHandler(app, slack.app_token, web_client=_opener(slack), ping_interval=0.3)
    handler.connect()
    try:
        slack.wait(lambda: bool(slack._sockets))
        yield
    finally:
        disconnect(handler)


def _opener(slack: SlackServer) -> WebClient:
    return WebClient(token=slack.app_token, base_url=slack.api_url)


def words(slack: SlackServer) -> list[str]:
    return [e["text"] for e in slack.ephemeral]


def test_it_asks_once_also_after_a_restart_and_nothing_in_it_is_a_link(
    slack: SlackServer, tmp_path: Path
) -> None:
    store = store_with(tmp_path)
    desk(slack, store).post(only(store))
    desk(slack, store).post(only(store))
    (message,) = slack.messages
    text = str(message["blocks"])
    assert "&lt;script&gt;" in text and "<!channel>" not in text
    assert {e["text"]["text"] for e in message["blocks"][1]["elements"]} == {
        "Approve", "Reject", "Details",
    }  # fmt: skip


def test_reminders_and_news_are_said_once(slack: SlackServer, tmp_path: Path) -> None:
    store = store_with(tmp_path)
    for _ in range(2):
        ours = desk(slack, store)
        ours.remind(only(store))
        ours.announce("0001/deployed", "abc is live <!channel>")
    reminder, news = slack.texts
    assert "Still waiting" in reminder and "is refused at 20" in reminder
    assert news == "abc is live &lt;!channel&gt;"


def test_what_is_withdrawn_has_no_buttons_and_a_late_click_hears_why(
    slack: SlackServer, tmp_path: Path
) -> None:
    store, decided = store_with(tmp_path), Counted()
    ours = desk(slack, store, decided)
    ours.post(only(store))
    ours.remind(only(store))
    as_it_was = dict(slack.messages[0])  # in a window that was not drawn anew
    store.withdraw("0001-cafe", "alice", "gone on to <!channel>")
    for _ in range(2):
        ours.withdraw(only(store))
    message = slack.messages[0]
    assert len(slack.messages) == 2 and "Still waiting" in slack.texts[1]
    assert message["text"] == "Withdrawn: 0001-cafe; gone on to &lt;!channel&gt;"
    assert [b["type"] for b in message["blocks"]] == ["section"]
    with connected(slack, ours):
        slack.send(slack.click(as_it_was, "fibreflow_approve", "U2"))
        slack.wait(lambda: bool(slack.ephemeral))
    assert "nobody is asked any more: gone on" in words(slack)[0]
    assert decided.times == 0 and only(store).standing == "superseded"
    slack.messages.clear()
    ours.withdraw(only(store))  # too far back, or never said: nothing is said now
    assert slack.messages == []


def test_a_click_is_acknowledged_in_time_and_decides(slack: SlackServer, tmp_path: Path) -> None:
    store, decided = store_with(tmp_path), Counted()
    ours = desk(slack, store, decided)
    ours.post(only(store))
    with connected(slack, ours):
        envelope = slack.send(slack.click(slack.messages[0], "fibreflow_approve", "U2"))
        slack.wait(lambda: "approved by <@U2>" in slack.messages[0]["text"])
        slack.wait(lambda: envelope in slack.acknowledged)
    assert slack.acknowledged[envelope][0] < 3
    answer = only(store).answer
    assert answer is not None and (answer.verdict, answer.by) == ("approved", "slack:U2")
    assert decided.times == 1


@pytest.mark.parametrize(
    ("user", "more", "said"),
    [
        ("U9", {}, "no approver"),
        ("U1", {}, "somebody else has to approve"),
        ("U2", {"strategy": "EXPERT"}, "no expert"),
        ("U2", {"expires": 1.0}, "too late"),
    ],
)
def test_who_may_not_is_told_so_and_nobody_else(
    slack: SlackServer, tmp_path: Path, user: str, more: dict[str, Any], said: str
) -> None:
    store, decided = store_with(tmp_path, **more), Counted()
    ours = desk(slack, store, decided)
    ours.post(only(store))
    over_http(slack, ours, slack.click(slack.messages[0], "fibreflow_approve", user))
    slack.wait(lambda: bool(slack.ephemeral))
    assert said in words(slack)[0] and slack.ephemeral[0]["user"] == user
    assert only(store).answer is None and decided.times == 0


def test_a_rejection_asks_for_its_reason_and_needs_it(slack: SlackServer, tmp_path: Path) -> None:
    store = store_with(tmp_path)
    ours = desk(slack, store)
    ours.post(only(store))
    with connected(slack, ours):
        slack.send(slack.click(slack.messages[0], "fibreflow_reject", "U2"))
        slack.wait(lambda: bool(slack.views))
        empty = slack.send(slack.submit(slack.views[0], {"reason": "  "}, "U2"))
        slack.wait(lambda: empty in slack.acknowledged)
        assert "errors" in slack.acknowledged[empty][1]
        assert only(store).answer is None
        slack.send(slack.submit(slack.views[0], {"reason": "wrong <colour>"}, "U2"))
        slack.wait(lambda: "rejected" in slack.messages[0]["text"])
    answer = only(store).answer
    assert answer is not None and (answer.verdict, answer.reason) == ("rejected", "wrong <colour>")
    assert "wrong &lt;colour&gt;" in slack.messages[0]["text"]


def test_double_clicks_and_clicks_after_a_restart_give_one_decision(
    slack: SlackServer, tmp_path: Path
) -> None:
    store, decided = store_with(tmp_path), Counted()
    ours = desk(slack, store, decided)
    ours.post(only(store))
    click = slack.click(slack.messages[0], "fibreflow_approve", "U2")
    with connected(slack, ours):
        envelope = slack.send(click)
        slack.send(click, envelope)  # Slack heard no acknowledgement
        slack.send(slack.click(slack.messages[0], "fibreflow_approve", "U3"))
        slack.wait(lambda: len(slack.ephemeral) == 2)
    over_http(slack, desk(slack, store_of(tmp_path), decided), click)  # another process
    slack.wait(lambda: len(slack.ephemeral) == 3)
    assert decided.times == 1
    assert all("already" in said for said in words(slack))


def test_an_answer_counts_also_when_nothing_can_be_said_about_it(
    slack: SlackServer, tmp_path: Path
) -> None:
    store, decided = store_with(tmp_path), Counted()
    ours = desk(slack, store, decided)
    ours.post(only(store))
    click = slack.click(slack.messages[0], "fibreflow_approve", "U2")
    over_http(slack, ours, {**click, "response_url": "http://127.0.0.1:9/nobody"})
    assert (only(store).standing, decided.times) == ("approved", 1)


def store_of(folder: Path) -> ApprovalStore:
    return ApprovalStore(folder / "approvals.sqlite", SystemClock())


def test_a_button_about_another_commit_decides_nothing(slack: SlackServer, tmp_path: Path) -> None:
    store = store_with(tmp_path)
    ours = desk(slack, store)
    ours.post(only(store))
    click = slack.click(slack.messages[0], "fibreflow_approve", "U2")
    click["actions"][0]["value"] = click["actions"][0]["value"].replace("cccc", "eeee")
    over_http(slack, ours, click)
    slack.wait(lambda: bool(slack.ephemeral))
    assert "another commit" in words(slack)[0] and only(store).answer is None


def test_it_connects_again_when_slack_hangs_up(slack: SlackServer, tmp_path: Path) -> None:
    store = store_with(tmp_path)
    ours = desk(slack, store)
    ours.post(only(store))
    with connected(slack, ours):
        slack.hang_up()
        slack.wait(lambda: len([c for c in slack.calls if "connections" in c.method]) > 1)
        slack.send(slack.click(slack.messages[0], "fibreflow_approve", "U2"))
        slack.wait(lambda: "approved" in slack.messages[0]["text"])


def test_details_are_for_whoever_asks(slack: SlackServer, tmp_path: Path) -> None:
    store = store_with(tmp_path)
    ours = desk(slack, store)
    ours.post(only(store))
    over_http(slack, ours, slack.click(slack.messages[0], "fibreflow_details", "U9"))
    slack.wait(lambda: bool(slack.ephemeral))
    assert "d" * 64 in words(slack)[0]


# ------------------------------------------------------------------------------------------ HTTP


def over_http(
    slack: SlackServer, ours: SlackDesk, click: Any, *, secret: str = "", at: float | None = None
) -> int:
    app = ours.app(signing_secret=slack.signing_secret, process_before_response=True)
    body, headers = slack.request(click, secret, at)
    status: int = app.dispatch(BoltRequest(body=body.decode(), headers=headers)).status
    return status


def test_the_same_handlers_over_http(slack: SlackServer, tmp_path: Path) -> None:
    store = store_with(tmp_path)
    ours = desk(slack, store)
    ours.post(only(store))
    click = slack.click(slack.messages[0], "fibreflow_approve", "U2")
    assert over_http(slack, ours, click) == 200
    assert only(store).standing == "approved"
    assert over_http(slack, ours, click) == 200  # replayed
    assert "already" in words(slack)[0]


@pytest.mark.parametrize(("secret", "age"), [("forged", 0), ("", 400), ("", -400), ("forged", 400)])
def test_a_forged_or_stale_signature_reaches_nothing(
    slack: SlackServer, tmp_path: Path, secret: str, age: float
) -> None:
    store = store_with(tmp_path)
    ours = desk(slack, store)
    ours.post(only(store))
    click = slack.click(slack.messages[0], "fibreflow_approve", "U2")
    assert over_http(slack, ours, click, secret=secret, at=time.time() - age) == 401
    assert only(store).answer is None and not slack.ephemeral


def test_a_limit_is_an_error_that_the_caller_sees(slack: SlackServer, tmp_path: Path) -> None:
    from slack_sdk.errors import SlackApiError

    def trouble(call: Call) -> Any:
        return rate_limited(3) if call.method == "chat.postMessage" else None

    slack.trouble = trouble
    store = store_with(tmp_path)
    with pytest.raises(SlackApiError):
        desk(slack, store).post(only(store))
    slack.trouble = lambda _: None
    desk(slack, store).post(only(store))
    assert len(slack.messages) == 1
