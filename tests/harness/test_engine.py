"""The seam over a real store: replay, children, cancelling, and what is no error of ours."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.database import Database
from harness.engine import Engine
from harness.fleet import forgetting
from harness.fleet.member import Fleet

ROOT = Path(__file__).resolve().parents[2]

#: Where the engine keeps what it knows of workflows.
RECORDS = ("dbos.workflow_status", "dbos.operation_outputs", "dbos.workflow_input")

#: Runs one workflow of three steps; with a number it dies inside that step.
SCRIPT = """
import asyncio, os, sys
from pathlib import Path
from harness.engine import Engine
from orchestrator.errors import FibreFlowError, MergeRefusedError

folder, die = Path(sys.argv[1]), int(sys.argv[2])

async def main():
    engine = Engine(folder, workers=2)
    cancelled = asyncio.Event()

    async def effect(n):
        with (folder / "effects").open("a") as file:
            file.write(f"{n}\\n")
        if n == die:
            os._exit(9)
        return n * 10

    async def refused():
        raise MergeRefusedError("red")

    async def child(n):
        if n == 2:
            try:
                await asyncio.sleep(600)
            finally:
                cancelled.set()
        if n == 3:
            raise ZeroDivisionError("a mistake")
        return await effect(100 + n)

    async def parent():
        found = [await engine.step("effect", effect, n) for n in (1, 2, 3)]
        try:
            await engine.step("refused", refused)
        except MergeRefusedError as error:
            found.append(str(error))
        open_ = {f"c{n}" for n in (1, 2, 3)}
        await engine.enqueue("child", {f"c{n}": (n,) for n in (1, 2, 3)}, priority=1)
        ends = {}
        while len(ends) < 2:
            ends |= await engine.finished(sorted(open_ - ends.keys()))
        await engine.cancel(sorted(open_ - ends.keys()))
        return [found, ends["c1"], ends["c3"]]

    engine.register("parent", parent)
    engine.register("child", child)
    await engine.start()
    print(await engine.run("parent", "p"), cancelled.is_set())
    await engine.close()

asyncio.run(main())
"""
WHOLE = "[[10, 20, 30, 'red'], {'value': 1010}, {'error': 'ZeroDivisionError: a mistake'}] True\n"


def play(folder: Path, die: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(die)],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


@pytest.mark.long
async def test_a_crash_between_steps_repeats_only_the_last(tmp_path: Path) -> None:
    assert (await asyncio.to_thread(play, tmp_path, 2)).returncode == 9
    assert (await asyncio.to_thread(play, tmp_path, 101)).returncode == 9
    done = await asyncio.to_thread(play, tmp_path, 0)
    assert done.stdout == WHOLE, done
    assert done.stderr == ""
    effects = (tmp_path / "effects").read_text().split()
    assert effects == ["1", "2", "2", "3", "101", "101"]
    assert "a mistake" in (tmp_path / "defects.log").read_text()


async def play_as(url: str, folder: Path, run: str) -> dict[str, dict[str, object]]:
    """A run of two queued children, one of which is cancelled, as one process of a fleet."""
    fleet = Fleet(url, places=2, run=run)
    fleet.join()
    engine = Engine(folder, workers=2, fleet=fleet, run=run)

    async def child(n: int) -> int:
        await asyncio.sleep(600 if n == 2 else 0)
        return n

    async def parent() -> dict[str, object]:
        await engine.enqueue("child", {f"{run}/c{n}": (n,) for n in (1, 2)}, priority=1, tier="t")
        ends = await engine.finished([f"{run}/c1", f"{run}/c2"])
        await engine.cancel([f"{run}/c2"])
        return ends

    engine.register("parent", parent)
    engine.register("child", child)
    try:
        await engine.start()
        result: dict[str, dict[str, object]] = await engine.run("parent", run)
        return result
    finally:
        await engine.close()
        await asyncio.to_thread(fleet.leave)


async def test_runs_of_one_database_do_not_meet(database: str, tmp_path: Path) -> None:
    """Nor is anything left of one that was forgotten, and all of the other."""
    first, second = "20261121-000000-aaaa", "20261121-000000-bbbb"
    for run in (first, second):
        assert await play_as(database, tmp_path, run) == {f"{run}/c1": {"value": 1}}
    book = Database(database)
    book.run(lambda connection: forgetting.at_end(connection, first))
    kept = [
        {row[0].partition("/")[0] for row in book.do(f"SELECT {id_} FROM {table}")}
        for id_, table in (("id", "fibreflow_work"), *(("workflow_uuid", t) for t in RECORDS))
    ]
    assert kept == [{second}] * len(kept)
    book.close()


async def test_a_queue_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """Else the run would wait for ever for attempts that nobody takes."""
    engine = Engine(tmp_path, workers=1)
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await engine.start()
    try:
        engine.failed = lambda error: told.set_result(str(error))
        with sqlite3.connect(tmp_path / "engine.sqlite") as store:
            store.execute("DROP TABLE fibreflow_work")
        await engine.set_workers(2)  # so that it looks
        assert "engine.sqlite: cannot be used" in await asyncio.wait_for(told, 60)
    finally:
        await engine.close()
