"""Slack is gone for an hour: nothing is lost or said twice, and people can answer all the same."""

from datetime import datetime
from pathlib import Path

from slack_sdk import WebClient

from harness.approvals.slack import SlackDesk
from harness.approvals.store import ApprovalStore
from harness.approvals.telling import PATIENCE, Teller
from harness.notices import Notices
from harness.record.workspace import Workspace
from orchestrator.approval_requests import Answer
from tests.emulators.slack import SlackServer
from tests.harness.approvals.asking import TEAM, request


class Hours:
    """A clock that is set forward by whoever waits."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class Desk:
    """A workspace with its store, its notices, and a service that is started anew at will."""

    def __init__(self, folder: Path, slack: SlackServer) -> None:
        self.clock, self.slack, self.said = Hours(), slack, list[str]()
        self.store = ApprovalStore(folder / "approvals.sqlite", self.clock)
        self.notices = Notices(Workspace(folder), self.clock)
        self.place = folder / "slack.json"

    def parts(self) -> tuple[ApprovalStore, Notices, SlackDesk, Hours, Path]:
        client = WebClient(self.slack.bot_token, base_url=self.slack.api_url, retry_handlers=[])
        desk = SlackDesk(self.store, self.clock, client, "#deploys")
        return self.store, self.notices, desk, self.clock, self.place

    def start(self) -> Teller:
        return Teller(*self.parts(), say=self.said.append)

    def ask(self, id_: str) -> None:
        now = self.clock.now()
        self.store.ask(request(id=id_, asked=now, expires=now + 86_400), TEAM)

    def hears(self, word: str) -> None:
        self.notices.tell(word, "started", word)


async def test_an_hour_without_slack(tmp_path: Path) -> None:
    with SlackServer() as slack:
        desk = Desk(tmp_path, slack)
        teller = desk.start()
        desk.ask("0001-aa")
        desk.hears("one")
        await teller.once()
        assert [m["text"] for m in slack.messages] == ["Approval needed: 0001-aa", "one"]
        slack.stop()
        begun, looks = desk.clock.now(), 0
        desk.ask("0002-bb")
        desk.hears("two")
        while desk.clock.now() < begun + 3600:
            wait = await teller.once()
            assert wait == PATIENCE  # patient: an outage is no reason to hammer
            await desk.clock.sleep(wait)
            looks += 1
            if looks == 60:  # the service itself is restarted in the middle of it
                desk.hears("three")
                teller = desk.start()
        assert looks == 120
        assert len(desk.said) == 2  # once by each process
        assert "tried again" in desk.said[0] and "`approvals approve`" in desk.said[0]
        # Meanwhile people answer another way; what is decided is not asked for afterwards.
        given = Answer("approved", "bob", "", desk.clock.now(), "cli")
        assert desk.store.answer("0002-bb", given).counted
        desk.ask("0003-cc")
        slack.start()
        assert await teller.once() < PATIENCE
        assert [m["text"] for m in slack.messages] == [
            "Approval needed: 0001-aa", "one", "Approval needed: 0003-cc", "two", "three",
        ]  # fmt: skip
        assert "is back after 30m" in desk.said[-1]
        # Another start says none of it again.
        await desk.start().once()
        assert len(slack.messages) == 5


async def test_a_reminder_comes_when_a_quarter_is_left_and_news_wait_for_the_morning(
    tmp_path: Path,
) -> None:
    with SlackServer() as slack:
        desk = Desk(tmp_path, slack)
        hour = datetime.fromtimestamp(desk.clock.now()).astimezone().hour
        night = Teller(*desk.parts(), quiet=(hour, (hour + 2) % 24))
        desk.ask("0001-aa")
        desk.hears("one")
        await night.once()
        assert slack.texts == ["Approval needed: 0001-aa"]
        await desk.clock.sleep(2 * 3600)
        await night.once()
        assert slack.texts[1:] == ["one"]
        await desk.clock.sleep(15 * 3600)
        await night.once()
        assert len(slack.texts) == 2
        await desk.clock.sleep(1.5 * 3600)
        for _ in range(2):
            await night.once()
        assert len(slack.texts) == 3 and "Still waiting for approval: 0001-aa" in slack.texts[2]


async def test_what_is_withdrawn_during_an_outage_is_taken_back_after_it(tmp_path: Path) -> None:
    with SlackServer() as slack:
        desk = Desk(tmp_path, slack)
        desk.ask("0001-aa")
        await desk.start().once()
        slack.stop()
        desk.store.withdraw("0001-aa", "alice", "gone on")
        desk.ask("0002-bb")
        assert await desk.start().once() == PATIENCE
        slack.start()
        for _ in range(2):
            await desk.start().once()
        assert slack.texts == ["Withdrawn: 0001-aa; gone on", "Approval needed: 0002-bb"]
        assert sum(call.method == "chat.update" for call in slack.calls) == 1


async def test_a_restart_says_nothing_again_however_busy_the_channel_was(tmp_path: Path) -> None:
    with SlackServer() as slack:
        desk = Desk(tmp_path, slack)
        desk.ask("0001-aa")
        desk.hears("one")
        await desk.start().once()
        slack.messages.clear()  # as far back as nobody looks
        await desk.start().once()
        assert slack.messages == []
