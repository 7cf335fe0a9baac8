"""Approvals in Slack: one set of handlers, for Socket Mode on a laptop and HTTP for a service."""

import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from harness.approvals.store import ApprovalStore, Asked, Outcome
from harness.ports import Clock
from harness.record.clock import iso
from orchestrator.approval_requests import Answer, Verdict

#: What Slack shows of one text.
_CHARS = 2_900


def disconnect(handler: Any) -> None:
    """Close a `SocketModeHandler` now. By itself, it waits until its socket has been silent for
    three seconds."""
    session = handler.client.current_session
    reading = session.sock if session is not None else None
    if reading is not None:
        with contextlib.suppress(OSError):
            reading.shutdown(socket.SHUT_RD)
    handler.close()


class SlackDesk:
    """Asks in a channel and takes answers in. `decided` is told after one that counted.

    `client` is a `slack_sdk.WebClient`. Buttons carry the request with its commit and digest, so
    that a click counts for what its message showed, and for nothing else.
    """

    def __init__(
        self,
        store: ApprovalStore,
        clock: Clock,
        client: Any,
        channel: str,
        decided: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._client = client
        self._channel = channel
        self._decided = decided

    def post(self, asked: Asked) -> None:
        """Ask, unless the channel has it already. Raises what the SDK raises."""
        text = f"Approval needed: {_safe(asked.request.id)}"
        self._say(asked.request.id, text, blocks=blocks(asked))

    def remind(self, asked: Asked) -> None:
        """Say once that nobody has answered yet."""
        one = asked.request
        text = f"Still waiting for approval: {_safe(one.id)}; without one it is refused at "
        self._say(f"{one.id}/reminder", text + iso(one.expires))

    def withdraw(self, asked: Asked) -> None:
        """Take the buttons from a request that is asked no more, where the channel has it."""
        key, why = asked.request.id, asked.answer.reason if asked.answer is not None else ""
        message = self._said(key)
        if message is None:
            return
        text = f"Withdrawn: {_safe(key)}; {_safe(why)}"[:_CHARS]
        block = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
        self._client.chat_update(
            channel=self._channel, ts=message["ts"], text=text, blocks=[block], metadata=_key(key)
        )

    def announce(self, key: str, text: str) -> None:
        """Say once what has happened."""
        self._say(key, _safe(text)[:_CHARS])

    def _say(self, key: str, text: str, **more: Any) -> None:
        if self._said(key) is None:
            self._client.chat_postMessage(
                channel=self._channel, text=text, metadata=_key(key), **more
            )

    def _said(self, key: str) -> Mapping[str, Any] | None:
        """The message with this key, among the channel's newest."""
        answer = self._client.conversations_history(
            channel=self._channel, limit=200, include_all_metadata=True
        )
        for message in answer["messages"]:
            if message.get("metadata", {}).get("event_payload", {}).get("key") == key:
                found: Mapping[str, Any] = message
                return found
        return None

    def app(self, **settings: Any) -> Any:
        """A `slack_bolt.App` with the handlers; `settings` are its own."""
        from slack_bolt import App  # noqa: PLC0415 - who has no Slack needs none

        app = App(client=self._client, **settings)
        app.action("fibreflow_approve")(self._approve)
        app.action("fibreflow_reject")(self._open_reason)
        app.action("fibreflow_details")(self._details)
        app.view("fibreflow_reason")(self._reject)
        return app

    # Slack waits three seconds for `ack`; the work comes after it.

    def _approve(self, ack: Any, body: Mapping[str, Any], respond: Any) -> None:
        ack()
        self._take("approved", _clicked(body), body, "", respond)

    def _open_reason(self, ack: Any, body: Mapping[str, Any]) -> None:
        ack()
        kept = json.dumps({**_clicked(body), "response_url": body["response_url"]})
        self._client.views_open(trigger_id=body["trigger_id"], view=_modal(kept))

    def _reject(self, ack: Any, body: Mapping[str, Any], view: Mapping[str, Any]) -> None:
        (block,) = view["state"]["values"].values()
        reason = (block["reason"]["value"] or "").strip()
        if not reason:
            ack(response_action="errors", errors={"reason": "A rejection needs its reason."})
            return
        ack()
        from slack_sdk.webhook import WebhookClient  # noqa: PLC0415

        shown = json.loads(view["private_metadata"])
        hook = WebhookClient(shown["response_url"])

        def respond(**words: Any) -> None:
            hook.send_dict(words)

        self._take("rejected", shown, body, reason, respond)

    def _details(self, ack: Any, body: Mapping[str, Any], respond: Any) -> None:
        ack()
        asked = self._store.find(str(_clicked(body).get("id", "")))
        words = "there is no such request" if asked is None else details(asked)
        respond(text=words, response_type="ephemeral", replace_original=False)

    def _take(
        self,
        verdict: Verdict,
        shown: Mapping[str, Any],
        body: Mapping[str, Any],
        reason: str,
        respond: Any,
    ) -> None:
        who = f"slack:{body['user']['id']}"
        answer = Answer(verdict, who, reason, self._clock.now(), "slack")
        outcome: Outcome = self._store.answer(
            str(shown.get("id", "")),
            answer,
            commit=str(shown.get("commit", "")),
            digest=str(shown.get("digest", "")),
        )
        if not outcome.counted:
            respond(text=_safe(outcome.words), response_type="ephemeral", replace_original=False)
            return
        self._decided()  # the work goes on, whatever becomes of the words about it
        text = f"{verdict} by <@{body['user']['id']}>" + (f": {_safe(reason)}" if reason else "")
        block = {"type": "section", "text": {"type": "mrkdwn", "text": text[:_CHARS]}}
        respond(text=text, blocks=[block], replace_original=True)


def _key(key: str) -> dict[str, Any]:
    """How a message is known again."""
    return {"event_type": "fibreflow_approval", "event_payload": {"key": key}}


def _clicked(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the button was about; nothing where that cannot be read."""
    try:
        data = json.loads(body["actions"][0]["value"])
    except (KeyError, IndexError, ValueError, TypeError):
        return {}
    return data if isinstance(data, dict) else {}


def blocks(asked: Asked) -> list[dict[str, Any]]:
    """The message: what, why it needs a person, and the buttons."""
    one = asked.request
    rows = [f"*{_safe(name)}*  {_safe(text)}" for name, text in one.facts]
    head = (
        f"*{one.strategy}* approval for {_safe(one.environment)}: {_safe('; '.join(one.reasons))}"
    )
    value = json.dumps({"id": one.id, "commit": one.commit, "digest": one.digest})
    buttons = [
        _button("fibreflow_approve", "Approve", value, style="primary"),
        _button("fibreflow_reject", "Reject", value, style="danger"),
        _button("fibreflow_details", "Details", value),
    ]
    text = "\n".join([head, *rows, f"commit `{one.commit[:12]}`, expires {iso(one.expires)}"])
    return [
        {"type": "section", "text": {"type": "mrkdwn", "text": text[:_CHARS]}},
        {"type": "actions", "block_id": "fibreflow", "elements": buttons},
    ]


def _button(action: str, words: str, value: str, **more: str) -> dict[str, Any]:
    text = {"type": "plain_text", "text": words}
    return {"type": "button", "action_id": action, "text": text, "value": value, **more}


def details(asked: Asked) -> str:
    one = asked.request
    rows = [f"{one.id}: {asked.standing}", f"commit {one.commit}", f"digest {one.digest}"]
    rows += [f"{name}: {text}" for name, text in one.facts]
    return _safe("\n".join(rows))[:_CHARS]


def _modal(kept: str) -> dict[str, Any]:
    element = {"type": "plain_text_input", "action_id": "reason", "multiline": True}
    label = {"type": "plain_text", "text": "Why not? The next round is told."}
    return {
        "type": "modal",
        "callback_id": "fibreflow_reason",
        "private_metadata": kept,
        "title": {"type": "plain_text", "text": "Reject"},
        "submit": {"type": "plain_text", "text": "Reject"},
        "blocks": [{"type": "input", "block_id": "reason", "element": element, "label": label}],
    }


def _safe(text: str) -> str:
    """Nothing that agents wrote becomes a link, a mention or a button."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
