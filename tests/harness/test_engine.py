"""The seam over a real store: replay, children, cancelling, and what is no error of ours."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

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
