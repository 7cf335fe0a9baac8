"""The adapter `command`: what is live is asked for, and nothing is done twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.deploy.adapter import Release
from harness.deploy.command import CommandAdapter
from orchestrator.deploy.values import Deploy, Environment
from orchestrator.errors import DeployError

PLACE = Environment(
    env={"TARGET": "web"},
    url="http://web",
    deploy='echo "$FIBREFLOW_COMMIT $FIBREFLOW_ENVIRONMENT $TARGET" >> deployed',
    current="tail -n 1 deployed 2>/dev/null | cut -d' ' -f1",
    roll_back="echo old >> deployed",
)
RELEASE = Release(Path("/srv/repo"), "c" * 40, "d" * 64)


def adapter(folder: Path, **changes: Any) -> CommandAdapter:
    place = replace(PLACE, **changes)
    return CommandAdapter(folder, "production", Deploy("command", place, place, timeout=1.5))


async def test_it_deploys_once_and_says_where(tmp_path: Path) -> None:
    one = adapter(tmp_path)
    assert await one.live() == ""
    for _ in range(2):
        assert await one.bring_up(RELEASE) == "http://web"
        assert await one.switch(RELEASE) == "http://web"
    assert (tmp_path / "deployed").read_text() == f"{'c' * 40} production web\n"
    assert await one.live() == "c" * 40


async def test_it_goes_back(tmp_path: Path) -> None:
    one = adapter(tmp_path)
    await one.bring_up(RELEASE)
    assert await one.roll_back(RELEASE) == "old"
    with pytest.raises(DeployError, match="no `roll_back`"):
        await adapter(tmp_path, roll_back="").roll_back(RELEASE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"deploy": "echo broken >&2; exit 4"}, "exit 4: broken"),
        ({"deploy": "sleep 60"}, "not ended within"),
        ({"current": "exit 1"}, "`exit 1` ended with exit 1"),
        ({"current": "echo another"}, "does not print cccccccccccc"),
    ],
)
async def test_what_fails_is_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    one = adapter(tmp_path, **changes)
    with pytest.raises(DeployError, match=why):
        await one.bring_up(RELEASE)
        await one.switch(RELEASE)
