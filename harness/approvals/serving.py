"""Serves approvals to people: the web inbox, and Slack where its tokens are set."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.approvals.inbox import Inbox
from harness.approvals.slack import SlackDesk, disconnect
from harness.approvals.store import ApprovalStore
from harness.approvals.telling import Teller, told_to_wait
from harness.notices import Notices
from harness.ports import Clock
from harness.sla.threads import in_thread
from orchestrator.errors import FibreFlowError, MachineError


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
    """`go_on` continues the work after an answer; it is called in a thread, one at a time.
    `answered`: at once, since an earlier process died with an answer that it had taken in."""

    def __init__(  # noqa: PLR0913 - what it works with, each a port or a value
        self,
        store: ApprovalStore,
        clock: Clock,
        notices: Notices,
        *,
        slack: SlackSettings | None,
        go_on: Callable[[], None],
        quiet: tuple[int, int] | None = None,
        say: Callable[[str], None] = lambda _: None,
        answered: bool = False,
    ) -> None:
        self._store = store
        self._notices = notices
        self._quiet = quiet
        self._say = say
        self._clock = clock
        self._slack = slack
        self._go_on = go_on
        self._decided = threading.Event()
        if answered:
            self._decided.set()
        self._app: Any = None
        self._teller: Teller | None = None
        self._handler: Any = None

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
            work = [self._continue(), *([self._teller.run()] if self._teller else [])]
            work += [self._reach(self._handler)] if self._handler else []
            tasks = [asyncio.create_task(t) for t in work]
            try:
                await _until(leave, {serving, *tasks})
            finally:
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
        # Whoever tells has the patience: no two layers try again.
        client = WebClient(token=own.bot_token, base_url=own.api_url, retry_handlers=[])
        desk = SlackDesk(self._store, self._clock, client, own.channel, self._decided.set)
        self._teller = Teller(
            self._store,
            self._notices,
            desk,
            self._clock,
            self._store.folder / "slack.json",
            quiet=self._quiet,
            say=self._say,
        )
        self._app = desk.app(signing_secret=own.signing_secret, token_verification_enabled=False)
        if not own.app_token:
            yield
            return
        opener = WebClient(token=own.app_token, base_url=own.api_url)
        self._handler = SocketModeHandler(self._app, own.app_token, web_client=opener)
        try:
            yield
        finally:
            disconnect(self._handler)

    async def _reach(self, handler: Any) -> None:
        """Connect by Socket Mode, whenever Slack lets us; after that the SDK connects again by
        itself. The inbox does not wait for it."""
        from slack_sdk.errors import SlackClientError  # noqa: PLC0415 - as above

        while True:
            try:
                await in_thread(handler.connect)
            except (SlackClientError, OSError) as error:
                await self._clock.sleep(told_to_wait(error))
            else:
                return

    async def _continue(self) -> None:
        while True:
            if self._decided.is_set():
                self._decided.clear()
                try:
                    await in_thread(self._go_on)
                except FibreFlowError as error:  # the next answer may be about something else
                    self._say(f"error: {error}\nThe answer is kept; `approvals continue` goes on")
            await self._clock.sleep(0.2)


async def _until(leave: asyncio.Event, tasks: set[asyncio.Task[None]]) -> None:
    """Until it is told to leave. Raises what a task failed with: half a service looks whole."""
    told = asyncio.create_task(leave.wait())
    pending: set[asyncio.Task[Any]] = {told, *tasks}
    try:
        while not leave.is_set():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        told.cancel()
