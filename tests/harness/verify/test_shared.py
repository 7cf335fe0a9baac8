"""Facts found once, side by side, after a failure, and across a restart; checks run together."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.verify.shared import once, together


async def test_side_by_side_callers_share_one_finding(tmp_path: Path) -> None:
    calls = []
    started, go = asyncio.Event(), asyncio.Event()

    async def find() -> dict[str, Any]:
        calls.append(1)
        started.set()
        await go.wait()
        return {"n": 1}

    tasks = [asyncio.create_task(once(tmp_path / "fact.json", find)) for _ in range(5)]
    await started.wait()
    go.set()
    assert await asyncio.gather(*tasks) == [{"n": 1}] * 5
    assert calls == [1]


async def test_a_failure_leaves_nothing_and_the_next_tries_again(tmp_path: Path) -> None:
    async def fail() -> dict[str, Any]:
        raise OSError("sandbox gone")

    async def find() -> dict[str, Any]:
        return {"n": 2}

    with pytest.raises(OSError, match="gone"):
        await once(tmp_path / "fact.json", fail)
    assert await once(tmp_path / "fact.json", find) == {"n": 2}
    assert await once(tmp_path / "fact.json", fail) == {"n": 2}


async def test_a_damaged_file_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "fact.json").write_text("{")

    async def find() -> dict[str, Any]:
        return {"n": 3}

    assert await once(tmp_path / "fact.json", find) == {"n": 3}


async def test_together_the_first_error_waits_until_the_others_have_ended() -> None:
    begun, ended = asyncio.Event(), []

    async def lasting() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("lasting")

    async def failing() -> None:
        await begun.wait()
        raise OSError("sandbox gone")

    with pytest.raises(OSError, match="gone"):
        await together([lasting(), failing()])
    assert ended == ["lasting"]


async def test_together_results_are_in_order() -> None:
    async def said(word: str, turns: int) -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return word

    assert await together([said("a", 3), said("b", 0)]) == ["a", "b"]
