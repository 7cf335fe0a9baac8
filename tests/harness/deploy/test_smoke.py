"""Smoke tests are judged by status, body and exit code; never by what they print."""

from pathlib import Path

import pytest

from harness.deploy import smoke
from orchestrator.deploy.values import Smoke
from orchestrator.errors import DeployError
from tests.harness.sla.counterparts import answer, refusing_port, server


async def outcome(one: Smoke, tmp_path: Path, body: bytes = answer("all ok")) -> str:
    async def handler(request: bytes) -> bytes:
        return body if request.startswith(b"GET /x ") else answer("", 404)

    async with server(handler) as port:
        return await smoke.test((one,), f"http://127.0.0.1:{port}/", tmp_path)


@pytest.mark.parametrize(
    "one",
    [
        Smoke(get="/x"),
        Smoke(get="/x", contains="all ok"),
        Smoke(get="/y", status=404),
        Smoke(run="true"),
        Smoke(run='case "$FIBREFLOW_URL" in http://127.0.0.1:*) ;; *) exit 1;; esac'),
    ],
)
async def test_green(one: Smoke, tmp_path: Path) -> None:
    assert "1 smoke tests green" in await outcome(one, tmp_path)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (Smoke(get="/y"), "answered 404, not 200"),
        (Smoke(get="/x", contains="fine"), "does not contain 'fine'"),
        (Smoke(run="echo passed; echo 5 passed; exit 1"), "exit 1: passed"),
        (Smoke(run="no-such-program"), "exit 127"),
        (Smoke(run="kill -9 $$"), "exit -9"),
    ],
)
async def test_red(one: Smoke, why: str, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=why):
        await outcome(one, tmp_path)


async def test_all_have_to_be_green_and_the_first_that_is_not_is_named(tmp_path: Path) -> None:
    tests = (Smoke(run="true"), Smoke(run="exit 3"), Smoke(run="touch never"))
    with pytest.raises(DeployError, match="'exit 3'"):
        await smoke.test(tests, "", tmp_path)
    assert not (tmp_path / "never").exists()


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="no answer"):
        await smoke.test((Smoke(get="/"),), f"http://127.0.0.1:{refusing_port()}", tmp_path)
