"""A monitor's alerts set up for tests: a file with two SLAs, a clock, and a place to keep them."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from harness.sla.alerting import Alerting
from harness.sla.senders import senders
from harness.sla.surroundings import Surroundings
from orchestrator.sla import file as slas_file
from orchestrator.sla.models import Notify
from orchestrator.sla.values import Sample, SlaFile, SlaState
from tests.emulators.slack import SlackServer
from tests.harness.agents.workbench import StepClock

KEEP = {"error": 300, "probe": {"type": "file_age", "path": "x"}}


class Diary(StepClock):
    """A clock that does things when their time has come."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[float, Callable[[], None]]] = []

    def at(self, time: float, action: Callable[[], None]) -> None:
        self.entries.append((time, action))
        self.entries.sort(key=lambda entry: entry[0])

    async def sleep(self, seconds: float) -> None:
        while self.entries and self.entries[0][0] <= self.time + seconds:
            time, action = self.entries.pop(0)
            self.time, seconds = max(self.time, time), self.time + seconds - max(self.time, time)
            action()
        await super().sleep(seconds)


def sla_file(slas: Mapping[str, Any] | None = None, **more: Any) -> SlaFile:
    body = {"slas": slas or {"x": KEEP, "y": KEEP}, **more}
    return slas_file.parse(json.dumps(body).encode(), "slas.yaml")


def to_slack(slack: SlackServer, **more: Any) -> SlaFile:
    notify = {"default": ["slack"], "slack": {"channel": "#data", "api_url": slack.api_url}}
    return sla_file(notify=notify, **more)


class Desk:
    """Alerting over a folder, which a restart opens anew."""

    def __init__(self, file: SlaFile, folder: Path, env: Mapping[str, str], client: Any) -> None:
        self.file = file
        self.folder = folder
        self.clock = Diary()
        self.around = Surroundings(folder, env, self.clock, client)
        self.latest: dict[str, Sample] = {}
        self.restart()

    def restart(self) -> None:
        """What a killed process leaves is its folder."""
        out = senders(self.file.notify or Notify(), self.around, self.folder / "alerts.jsonl")
        self.alerting = Alerting(self.file, out, self.folder / "alerts.json", self.clock)

    def see(self, state: SlaState, *slas: str, value: float = 400.0) -> None:
        time = self.clock.now()
        for name in slas:
            self.latest[name] = Sample(name, time, state, state, value)
        self.alerting.take(slas, self.latest)


@contextlib.asynccontextmanager
async def desk(file: SlaFile, folder: Path, **env: str) -> AsyncIterator[Desk]:
    import httpx2

    async with httpx2.AsyncClient() as client:
        yield Desk(file, folder, env, client)
