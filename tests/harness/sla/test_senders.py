"""Each other way to tell people, against a real counterpart: webhook, program, mail, log."""

import json
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler

from harness.sla.senders import senders
from orchestrator.errors import DeliveryError
from orchestrator.sla.alerts import Notice
from orchestrator.sla.outbox import Delivery
from orchestrator.sla.values import Route
from tests.emulators.slack import SlackServer, rate_limited
from tests.harness.sla.counterparts import refusing_port
from tests.harness.sla.telling import desk, sla_file

NOTICE = Notice(
    "k", "firing", "x/error", "critical", 7200.0, 7200.0, 400.0, "x is <400>\nSubject: y"
)


def delivery(action: Any, channel: str = "") -> Delivery:
    return Delivery(Route(action, channel), "g", 0.0, (NOTICE,))


class Mails(MessageHandler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.seen.append(message)


@pytest.fixture
def mails() -> Iterator[tuple[Mails, int]]:
    handler = Mails()
    controller = Controller(handler, hostname="127.0.0.1", port=refusing_port())
    controller.start()
    yield handler, controller.port
    controller.stop()


async def send(tmp_path: Path, notify: dict[str, Any], what: Delivery, **env: str) -> bool:
    """Sends; whether the route knows afterwards that it has it."""
    file = sla_file(notify=notify)
    async with desk(file, tmp_path, **env) as at:
        assert file.notify is not None
        sender = senders(file.notify, at.around, tmp_path / "alerts.jsonl")[what.route.action]
        await sender.send(what)
        return await sender.has(what)


async def test_log(tmp_path: Path) -> None:
    assert await send(tmp_path, {}, delivery("log"))
    line = json.loads((tmp_path / "alerts.jsonl").read_text())
    assert line["key"] == delivery("log").key
    assert "x is <400>" in line["text"]


async def test_webhook(tmp_path: Path) -> None:
    with SlackServer() as slack:
        env = {"SLACK_WEBHOOK_URL": slack.webhook_url}
        assert not await send(tmp_path, {}, delivery("slack_webhook", "#x"), **env)
        assert "x is &lt;400&gt;" in slack.texts[0]
        assert slack.messages[0]["channel"] == "#x"
        slack.trouble = lambda _: rate_limited(9)
        with pytest.raises(DeliveryError) as caught:
            await send(tmp_path, {}, delivery("slack_webhook"), **env)
        assert (caught.value.retry_after, caught.value.unsure) == (9, False)


async def test_command(tmp_path: Path) -> None:
    code = "import sys, os; open('got', 'w').write(sys.stdin.read() + os.environ.get('HIDDEN', ''))"
    notify = {"command": {"run": [sys.executable, "-c", code]}}
    await send(tmp_path, notify, delivery("command"), HIDDEN="secret")
    got = json.loads((tmp_path / "got").read_text())
    assert got["key"] == delivery("command").key
    assert got["notices"][0]["rule"] == "x/error"


async def test_a_command_that_fails_delivered_nothing(tmp_path: Path) -> None:
    notify = {"command": {"run": [sys.executable, "-c", "import sys; sys.exit('no line')"]}}
    with pytest.raises(DeliveryError, match="no line"):
        await send(tmp_path, notify, delivery("command"))


async def test_mail(mails: tuple[Mails, int], tmp_path: Path) -> None:
    handler, port = mails
    email = {
        "host": "127.0.0.1", "port": port, "tls": "none",
        "from": "ff@example.org", "to": ["a@example.org", "b@example.org"],
    }  # fmt: skip
    await send(tmp_path, {"email": email}, delivery("email"))
    (mail,) = handler.seen
    assert mail["To"] == "a@example.org, b@example.org"
    assert mail["Message-ID"] == f"<{delivery('email').key}@fibreflow.invalid>"
    assert mail["Subject"].startswith("[critical] FIRING: x is <400>")
    assert mail.get_all("Subject") == [mail["Subject"]], "what was measured adds no header"


async def test_mail_without_a_server(tmp_path: Path) -> None:
    email = {
        "host": "127.0.0.1", "port": refusing_port(), "tls": "none",
        "from": "a@example.org", "to": ["b@example.org"],
    }  # fmt: skip
    with pytest.raises(DeliveryError, match="mail server") as caught:
        await send(tmp_path, {"email": email}, delivery("email"))
    assert not caught.value.unsure


async def test_mail_that_must_be_encrypted_is_never_sent_in_the_clear(
    mails: tuple[Mails, int], tmp_path: Path
) -> None:
    handler, port = mails
    email = {"host": "127.0.0.1", "port": port, "from": "a@example.org", "to": ["b@example.org"]}
    with pytest.raises(DeliveryError, match="STARTTLS"):
        await send(tmp_path, {"email": email}, delivery("email"))
    assert handler.seen == []
