"""Routes out of the house: each sends one message once, or says why not and whether it arrived."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.record.clock import iso
from harness.record.journal import Lines
from harness.sla import programs
from harness.sla.surroundings import Surroundings
from harness.sla.threads import in_thread
from orchestrator.errors import DeliveryError, MachineError, ProbeError
from orchestrator.sla.models import AlertCommand, Email, Notify, Slack, SlackWebhook
from orchestrator.sla.outbox import Delivery, worded
from orchestrator.sla.values import Action

#: How long one delivery may take, tries apart. Seconds.
TIMEOUT = 10.0
#: What Slack shows when it asks for patience without saying for how long. Seconds.
_PATIENCE = 30.0


class Sender(Protocol):
    """One way to tell people. `key` of a delivery is the same at every try."""

    async def send(self, delivery: Delivery) -> None:
        """Raises `DeliveryError`."""
        ...

    async def has(self, delivery: Delivery) -> bool:
        """Whether it arrived before, as far as the route can tell; False where it cannot."""
        ...


def senders(notify: Notify, around: Surroundings, log: Path) -> Mapping[Action, Sender]:
    """A sender for each route that the file configures; nothing is connected yet."""
    found: dict[Action, Sender] = {
        "log": LogSender(log, around),
        "slack": SlackSender(notify.slack, around),
        "slack_webhook": WebhookSender(notify.slack_webhook, around),
    }
    if notify.command is not None:
        found["command"] = CommandSender(notify.command, around)
    if notify.email is not None:
        found["email"] = EmailSender(notify.email, around)
    return found


def _secret(around: Surroundings, name: str) -> str:
    try:
        return around.secret(name)
    except ProbeError as error:
        raise DeliveryError(str(error)) from None


@dataclass(frozen=True, slots=True)
class LogSender:
    """`logs/sla/alerts.jsonl`, a line for each delivery."""

    path: Path
    around: Surroundings

    async def send(self, delivery: Delivery) -> None:
        text = worded(delivery)
        body = {"time": iso(self.around.clock.now()), "key": delivery.key, "text": text}
        try:
            lines = Lines(self.path)
            try:
                lines.append(body, sync=True)
            finally:
                lines.close()
        except MachineError as error:
            raise DeliveryError(str(error)) from None

    async def has(self, delivery: Delivery) -> bool:
        try:
            return f'"key":"{delivery.key}"'.encode() in self.path.read_bytes()
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class SlackSender:
    """A bot that writes to a channel. The key travels as the message's metadata, where a later
    process finds it again."""

    to: Slack
    around: Surroundings

    async def send(self, delivery: Delivery) -> None:
        await in_thread(lambda: self._post(delivery))

    async def has(self, delivery: Delivery) -> bool:
        try:
            return await in_thread(lambda: self._find(delivery))
        except DeliveryError:
            return False  # without the right to read it cannot tell

    def _client(self) -> Any:
        from slack_sdk import WebClient  # noqa: PLC0415 - who has no Slack needs none

        token = _secret(self.around, self.to.token_env)
        # Its own retries would not survive this process, and ours would not know of them.
        return WebClient(
            token=token, base_url=self.to.api_url, timeout=int(TIMEOUT), retry_handlers=[]
        )

    def _channel(self, delivery: Delivery) -> str:
        return delivery.route.channel or self.to.channel or ""

    def _post(self, delivery: Delivery) -> None:
        client = self._client()
        with _slack_errors():
            client.chat_postMessage(
                channel=self._channel(delivery),
                text=_escaped(worded(delivery)),
                metadata={"event_type": "fibreflow_sla", "event_payload": {"key": delivery.key}},
            )

    def _find(self, delivery: Delivery) -> bool:
        client = self._client()
        with _slack_errors():
            answer = client.conversations_history(
                channel=self._channel(delivery), limit=200, include_all_metadata=True
            )
        payloads = (m.get("metadata", {}).get("event_payload", {}) for m in answer["messages"])
        return any(payload.get("key") == delivery.key for payload in payloads)


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """An incoming webhook of Slack."""

    to: SlackWebhook
    around: Surroundings

    async def send(self, delivery: Delivery) -> None:
        await in_thread(lambda: self._post(delivery))

    async def has(self, delivery: Delivery) -> bool:  # noqa: ARG002 - a webhook cannot be read
        return False

    def _post(self, delivery: Delivery) -> None:
        from slack_sdk.webhook import WebhookClient  # noqa: PLC0415

        url = _secret(self.around, self.to.url_env)
        client = WebhookClient(url, timeout=int(TIMEOUT), retry_handlers=[])
        body: dict[str, Any] = {"text": _escaped(worded(delivery))}
        body |= {"channel": delivery.route.channel} if delivery.route.channel else {}
        with _slack_errors():
            answer = client.send_dict(body)
        if answer.status_code != 200:
            headers = {k.lower(): v for k, v in answer.headers.items()}
            raise _refused(answer.status_code, str(answer.body)[:200], headers)


class _slack_errors:  # noqa: N801 - used like a function, as contextlib's own are
    """Turns what the SDK raises into `DeliveryError`, and says whether it may have arrived."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from http.client import HTTPException  # noqa: PLC0415
        from urllib.error import URLError  # noqa: PLC0415

        from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415

        if isinstance(error, SlackApiError):
            answer: Any = error.response
            headers = {k.lower(): v for k, v in answer.headers.items()}
            raise _refused(
                answer.status_code, str(answer.get("error", ""))[:200], headers
            ) from None
        if isinstance(error, URLError):
            unsure = isinstance(error.reason, TimeoutError)
            raise DeliveryError(f"Slack is not there: {error.reason}", unsure=unsure) from None
        if isinstance(error, OSError | HTTPException):
            raise DeliveryError(f"Slack went away: {error or type(error)}", unsure=True) from None
        if isinstance(error, SlackClientError):
            raise DeliveryError(f"Slack: {error}") from None


def _refused(status: int, words: str, headers: Mapping[str, Any]) -> DeliveryError:
    if status == 429:
        told = headers.get("retry-after")
        told = told[0] if isinstance(told, list) else told
        try:
            wait = float(told) if told is not None else _PATIENCE
        except ValueError:
            wait = _PATIENCE
        return DeliveryError("Slack asks for patience", retry_after=wait)
    return DeliveryError(f"Slack answered {status}: {words}", unsure=status >= 500)


def _escaped(text: str) -> str:
    """Nothing that was measured may become a link or wake the whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True, slots=True)
class CommandSender:
    """A program of the owner: the delivery as JSON on its standard input, 0 for delivered."""

    to: AlertCommand
    around: Surroundings

    async def send(self, delivery: Delivery) -> None:
        body = {
            "key": delivery.key,
            "text": worded(delivery),
            "notices": [asdict(notice) for notice in delivery.notices],
        }
        try:
            env = programs.environment(self.around, self.to.env)
            async with asyncio.timeout(TIMEOUT):
                words, folder = self.to.run, self.around.workspace
                await programs.run(words, folder, env, json.dumps(body).encode())
        except ProbeError as error:
            raise DeliveryError(str(error)) from None
        except TimeoutError:
            raise DeliveryError(f"no end within {TIMEOUT:g} s", unsure=True) from None

    async def has(self, delivery: Delivery) -> bool:  # noqa: ARG002 - the key is told; it may ask
        return False


@dataclass(frozen=True, slots=True)
class EmailSender:
    """Mail. The key makes the Message-ID, by which mail programs know a second copy."""

    to: Email
    around: Surroundings

    async def send(self, delivery: Delivery) -> None:
        import smtplib  # noqa: PLC0415

        user = _secret(self.around, self.to.user_env) if self.to.user_env else None
        password = _secret(self.around, self.to.password_env) if self.to.password_env else ""
        try:
            await in_thread(lambda: self._send(delivery, user, password))
        except smtplib.SMTPServerDisconnected as error:
            raise DeliveryError(f"the mail server went away: {error}", unsure=True) from None
        except (smtplib.SMTPException, OSError) as error:
            unsure = isinstance(error, TimeoutError)
            raise DeliveryError(f"the mail server: {str(error)[:200]}", unsure=unsure) from None

    async def has(self, delivery: Delivery) -> bool:  # noqa: ARG002 - a mailbox is not ours to read
        return False

    def _send(self, delivery: Delivery, user: str | None, password: str) -> None:
        import smtplib  # noqa: PLC0415
        import ssl  # noqa: PLC0415

        tls = self.to.tls
        context = ssl.create_default_context() if tls != "none" else None
        if tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.to.host, self.to.port, timeout=TIMEOUT, context=context
            )
        else:
            server = smtplib.SMTP(self.to.host, self.to.port, timeout=TIMEOUT)
        with server:
            if tls == "starttls":
                server.starttls(context=context)
            if user is not None:
                server.login(user, password)
            server.send_message(self._message(delivery))

    def _message(self, delivery: Delivery) -> Any:
        from email.message import EmailMessage  # noqa: PLC0415
        from email.utils import formatdate  # noqa: PLC0415

        text = worded(delivery)
        message = EmailMessage()
        message["From"], message["To"] = self.to.sender, ", ".join(self.to.to)
        message["Subject"] = " ".join(text.splitlines()[0].split())[:150]
        message["Message-ID"] = f"<{delivery.key}@fibreflow.invalid>"
        message["Date"] = formatdate(time.time())
        message.set_content(text + "\n")
        return message
