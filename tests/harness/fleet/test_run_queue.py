"""One run's queue on a file of its own: what is put in is played, heard of, and cut short."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.database import Database
from harness.fleet.claims import TABLES, Claim, Claims, Ended
from harness.fleet.pump import Pump
from harness.fleet.run_queue import RunQueue
from orchestrator.errors import FibreFlowError


class Player:
    """Ends `quick` at once and everything else never; keeps what it is told."""

    def __init__(self, file: Path, places: int) -> None:
        self.claims = Claims(Database(file, TABLES))
        pump = Pump(self.claims, self.play, self.tell, places=places)
        self.queue = RunQueue(self.claims, "run", pump, self.tell)
        self.ended: dict[str, Ended] = {}
        self.begun: list[str] = []
        self.changed = asyncio.Event()
        self.failures: list[FibreFlowError] = []

    async def play(self, claim: Claim) -> dict[str, Any]:
        self.begun.append(claim.id)
        self.changed.set()
        if claim.id != "quick":
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                return {"cancelled": True}
        return {"value": claim.args}

    async def tell(self, ends: Mapping[str, Ended]) -> None:
        self.ended.update(ends)
        self.changed.set()

    def failed(self, error: FibreFlowError) -> None:
        self.failures.append(error)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def player(tmp_path: Path) -> Player:
    return Player(tmp_path / "queue.sqlite", places=1)


async def test_what_is_put_in_is_played_in_order_and_told_when_it_is_on_file(
    player: Player,
) -> None:
    queue = player.queue
    await queue.insert("attempt", {"quick": ("", ["a"]), "slow": ("", []), "late": ("", [])}, 1)
    queue.start(lambda: "runner", player.failed)
    await player.until(lambda: "slow" in player.begun)
    assert player.begun == ["quick", "slow"]  # one place
    assert player.ended == {"quick": ({"value": ("a",)}, 1)}
    assert player.claims.known("run") == {"quick": ({"value": ["a"]}, 1)}
    await queue.set_places(2)
    await player.until(lambda: "late" in player.begun)
    assert not await queue.is_at_work()  # nobody else: the file is this process's
    await queue.cancel(["slow", "late"])
    ends = player.claims.known("run")
    assert [ends[name][0] for name in ("slow", "late")] == [{"cancelled": True}] * 2
    assert await queue.close() == {}
    assert player.failures == []
