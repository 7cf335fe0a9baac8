"""Serves approvals to people: the web inbox, and Slack where its tokens are set."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from harness.approvals.inbox import Inbox
from harness.approvals.slack import SlackDesk
from harness.approvals.store import ApprovalStore
from harness.notices import Notices
from harness.ports import Clock
from harness.record.clock import iso
from harness.sla.threads import in_thread
from orchestrator.errors import MachineError
from orchestrator.notices import is_quiet

#: How often it is looked for new requests to ask about. Seconds.
_LOOK = 2.0
#: After Slack has failed, it is asked again no sooner. Seconds.
_PATIENCE = 30.0
#: A reminder comes when this share of the time to answer is left.
_REMIND = 0.25


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """From the environment. `app_token`: Socket Mode; `signing_secret`: HTTP at /slack/events."""

    bot_token: str
    channel: str
    app_token: str = ""
    signing_secret: str = ""
    api_url: str = "https://slack.com/api/"


def slack_settings() -> SlackSettings | None:
    """None where there is no bot token. Raises `MachineError` when the rest is missing."""
    token = os.environ.get("SLACK_BOT_TOKEN", "")
    if not token:
        return None
    channel = os.environ.get("SLACK_APPROVALS_CHANNEL", "")
    app_token = os.environ.get("SLACK_APP_TOKEN", "")
    secret = os.environ.get("SLACK_SIGNING_SECRET", "")
    if not channel or not (app_token or secret):
        raise MachineError(
            "SLACK_BOT_TOKEN is set; set SLACK_APPROVALS_CHANNEL too, and SLACK_APP_TOKEN (Socket "
            "Mode) or SLACK_SIGNING_SECRET (HTTP at /slack/events), or unset it"
        )
    url = os.environ.get("SLACK_API_URL", "https://slack.com/api/")
    return SlackSettings(token, channel, app_token, secret, url)


class Service:
    """`go_on` continues the work after an answer; it is called in a thread, one at a time."""

    def __init__(  # noqa: PLR0913 - what it works with, each a port or a value
        self,
        store: ApprovalStore,
        clock: Clock,
        notices: Notices,
        *,
        slack: SlackSettings | None,
        go_on: Callable[[], None],
        quiet: tuple[int, int] | None = None,
    ) -> None:
        self._store = store
        self._notices = notices
        self._quiet = quiet
        self._since = iso(clock.now())
        self._clock = clock
        self._slack = slack
        self._go_on = go_on
        self._decided = threading.Event()
        self._app: Any = None
        self._desk: SlackDesk | None = None

    async def run(self, port: int, listening: Callable[[int], None]) -> None:
        """Until SIGINT or SIGTERM. Raises `MachineError` when the port is taken."""
        from harness.sla.opening import bound, quiet_server  # noqa: PLC0415

        leave = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, leave.set)
        listener = bound("127.0.0.1", port)
        with self._connected():
            server = quiet_server(self._application())
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            listening(listener.getsockname()[1])
            tasks = [asyncio.create_task(t) for t in (self._ask(), self._continue())]
            await leave.wait()
            for task in tasks:
                task.cancel()
            server.should_exit = server.force_exit = True
            await asyncio.gather(serving, *tasks, return_exceptions=True)

    def _application(self) -> Any:
        application = Inbox(self._store, self._clock, self._decided.set).application()
        if self._app is not None and self._slack is not None and self._slack.signing_secret:
            from slack_bolt.adapter.starlette import SlackRequestHandler  # noqa: PLC0415
            from starlette.routing import Route  # noqa: PLC0415

            handler = SlackRequestHandler(self._app)
            application.router.routes.append(
                Route("/slack/events", handler.handle, methods=["POST"])
            )
        return application

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Slack, by Socket Mode where there is a token for it."""
        if self._slack is None:
            yield
            return
        from slack_bolt.adapter.socket_mode import SocketModeHandler  # noqa: PLC0415
        from slack_sdk import WebClient  # noqa: PLC0415

        own = self._slack
        client = WebClient(token=own.bot_token, base_url=own.api_url)
        self._desk = SlackDesk(self._store, self._clock, client, own.channel, self._decided.set)
        self._app = self._desk.app(
            signing_secret=own.signing_secret, token_verification_enabled=False
        )
        if not own.app_token:
            yield
            return
        opener = WebClient(token=own.app_token, base_url=own.api_url)
        handler = SocketModeHandler(self._app, own.app_token, web_client=opener)
        handler.connect()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            handler.close()  # type: ignore[no-untyped-call]

    async def _ask(self) -> None:
        """Say in Slack what is to be said, in order, again and again until it is there."""
        from slack_sdk.errors import SlackClientError  # noqa: PLC0415

        said: set[str] = set()
        while self._desk is not None:
            wait = _LOOK
            for key, saying in self._sayings(self._desk):
                if key in said:
                    continue
                try:
                    await in_thread(saying)
                    said.add(key)
                except (SlackClientError, OSError) as error:
                    wait = _told_to_wait(error)
                    break
            await self._clock.sleep(wait)

    def _sayings(self, desk: SlackDesk) -> Iterator[tuple[str, Callable[[], None]]]:
        """Requests, reminders of them, and what happened since this service began."""
        now = self._clock.now()
        for asked in reversed(self._store.all()):
            one = asked.request
            if asked.standing != "pending":
                continue
            yield one.id, partial(desk.post, asked)
            if now > one.expires - _REMIND * (one.expires - one.asked):
                yield f"{one.id}/reminder", partial(desk.remind, asked)
        if is_quiet(datetime.now().astimezone().hour, self._quiet):
            return  # approvals are asked for all the same: they expire
        for notice in self._notices.all():
            if notice.time >= self._since and notice.kind != "approval_needed":
                yield notice.key, partial(desk.announce, notice.key, notice.text)

    async def _continue(self) -> None:
        while True:
            if self._decided.is_set():
                self._decided.clear()
                await in_thread(self._go_on)
            await self._clock.sleep(0.2)


def _told_to_wait(error: Exception) -> float:
    """What Slack's 429 asks for, else our own patience. Seconds."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    told = next((v for k, v in headers.items() if k.lower() == "retry-after"), "")
    told = told[0] if isinstance(told, list) else told
    return float(told) if str(told).isdigit() else _PATIENCE
