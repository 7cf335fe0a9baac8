"""Says in Slack what is to be said: in its order, once, and after an outage what came meanwhile."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from harness.approvals.slack import SlackDesk
from harness.approvals.store import ApprovalStore
from harness.notices import Notices
from harness.ports import Clock
from harness.record import files
from harness.record.clock import iso
from harness.sla.threads import in_thread
from orchestrator.reporting.notices import is_quiet
from orchestrator.reporting.wording import counted, duration, one_line

#: How often it is looked for something new. Seconds.
_LOOK = 2.0
#: After Slack has failed, it is asked again no sooner. Seconds.
PATIENCE = 30.0
#: A reminder comes when this share of the time to answer is left.
_REMIND = 0.25
#: Keys of what was said last, which are not said again.
_KEPT = 2_000


class Teller:
    """`place` keeps how far the news were told: a restart during an outage loses none. `say` is
    for whoever watches the service: that Slack is gone, and that it is back."""

    def __init__(  # noqa: PLR0913 - what it tells from, and where to
        self,
        store: ApprovalStore,
        notices: Notices,
        desk: SlackDesk,
        clock: Clock,
        place: Path,
        *,
        quiet: tuple[int, int] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._notices = notices
        self._desk = desk
        self._clock = clock
        self._place = place
        self._quiet = quiet
        self._say = say
        self._gone: float | None = None  # since when Slack does not answer
        self._since, self._said = self._kept()

    async def run(self) -> None:
        while True:
            await self._clock.sleep(await self.once())

    async def once(self) -> float:
        """Say what is new; the seconds until the next look. A failure leaves the rest for then."""
        from slack_sdk.errors import SlackClientError  # noqa: PLC0415 - who has no Slack needs none

        late = 0
        for key, time, saying in self._sayings():
            if key in self._said:
                continue
            try:
                await in_thread(saying)
            except (SlackClientError, OSError) as error:
                self._is_gone(error)
                return told_to_wait(error)
            self._said[key] = None
            late += 1
            if time:
                self._since = time
            self._keep()
        self._is_back(late)
        return _LOOK

    def _kept(self) -> tuple[str, dict[str, None]]:
        """Where the news begin, and what was said: where they were left, else now."""
        try:
            data = json.loads(self._place.read_bytes())
            return str(data["since"]), dict.fromkeys(map(str, data.get("said", ())))
        except (OSError, ValueError, KeyError, TypeError):
            self._since, self._said = iso(self._clock.now()), {}
            self._keep()
            return self._since, self._said

    def _keep(self) -> None:
        # The channel is searched as well, for a crash before this; but not further than its
        # newest messages.
        self._said = dict.fromkeys(list(self._said)[-_KEPT:])
        files.replace_json(self._place, {"since": self._since, "said": list(self._said)})

    def _sayings(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        """Key, time (of news alone) and act: requests, reminders of them or that they are
        withdrawn, then the news."""
        now = self._clock.now()
        for asked in reversed(self._store.all()):
            one = asked.request
            if asked.standing == "superseded":
                yield f"{one.id}/withdrawn", "", partial(self._desk.withdraw, asked)
            if asked.standing != "pending":
                continue
            yield one.id, "", partial(self._desk.post, asked)
            if now > one.expires - _REMIND * (one.expires - one.asked):
                yield f"{one.id}/reminder", "", partial(self._desk.remind, asked)
        if is_quiet(datetime.fromtimestamp(now).astimezone().hour, self._quiet):
            return  # approvals are asked for all the same: they expire
        since = self._since
        for notice in self._notices.all():
            if notice.time >= since and notice.kind != "approval_needed":
                act = partial(self._desk.announce, notice.key, notice.text)
                yield notice.key, notice.time, act

    def _is_gone(self, error: Exception) -> None:
        if self._gone is None:
            self._gone = self._clock.now()
            self._say(
                f"Slack does not take messages ({one_line(str(error), 160)}); they are kept and "
                "tried again. Answers are taken meanwhile by `approvals approve` and the inbox"
            )

    def _is_back(self, late: int) -> None:
        if self._gone is not None and late:
            lasted = duration(self._clock.now() - self._gone)
            self._say(f"Slack is back after {lasted}; {counted(late, 'message')} came late")
            self._gone = None


def told_to_wait(error: Exception) -> float:
    """What Slack's 429 asks for, else our own patience. Seconds."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    told = next((v for k, v in headers.items() if k.lower() == "retry-after"), "")
    told = told[0] if isinstance(told, list) else told
    return float(told) if str(told).isdigit() else PATIENCE
