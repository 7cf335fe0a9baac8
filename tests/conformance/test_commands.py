"""What a command does to and gets from a sandbox that runs a shell."""

import asyncio
import os
import secrets

import pytest

from harness.ports import Sandbox
from orchestrator.errors import (
    SandboxError,
)
from tests.conformance.looking import alive, until


@pytest.mark.parametrize(
    ("command", "exit_status"),
    [
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("false | true", 0),
        ("nonesuch", 127),
        (["sh", "-c", "exit 200"], 200),
    ],
)
async def test_exit_statuses(box: Sandbox, command: str, exit_status: int) -> None:
    assert (await box.exec(command)).exit == exit_status


async def test_streams_are_apart_and_binary(box: Sandbox) -> None:
    result = await box.exec(r"printf '\377\000\n'; printf 'e\370' >&2")
    assert (result.out, result.err) == (b"\xff\x00\n", b"e\xf8")
    assert "\ufffd" in result.text


async def test_arguments_environment_and_folder(box: Sandbox) -> None:
    many = [str(n) * 20 for n in range(4000)]
    assert (await box.exec(["sh", "-c", "echo $#", "sh", *many])).text == "4000\n"
    assert (await box.exec(["true", "x" * 3_000_000])).exit == 126
    env = {"GREETING": "o=n e\n$two", "LANG": "C"}
    result = await box.exec('printf %s "$GREETING$LANG"', env=env)
    assert result.text == "o=n e\n$twoC"
    assert (await box.exec("pwd")).text == f"{box.workdir}\n"
    assert (await box.exec("pwd", cwd="pkg/data")).text == f"{box.workdir}/pkg/data\n"
    assert (await box.exec("pwd", cwd="/")).text == "/\n"
    assert (await box.exec("pwd", cwd="no/such")).exit == 1


async def test_nothing_of_the_callers_environment_is_seen(box: Sandbox) -> None:
    os.environ["SECRET_KEY_OF_A_TEST"] = marker = secrets.token_hex(8)
    try:
        assert marker not in (await box.exec("env; cat /proc/self/environ")).text
    finally:
        del os.environ["SECRET_KEY_OF_A_TEST"]


async def test_home_and_temporary_files_stay_between_commands(box: Sandbox) -> None:
    await box.exec('echo 1 > "$HOME/.rc"; echo 2 > "$TMPDIR/t"')
    assert (await box.exec('cat "$HOME/.rc" "$TMPDIR/t"')).text == "1\n2\n"


async def test_what_a_command_started_ends_with_it(box: Sandbox) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    sleeper = f"sh -c 'sleep 600; : {marker}'"
    result = await box.exec(f"setsid {sleeper} & ({sleeper} &) ; echo started", timeout=60)
    assert (result.exit, result.text) == (0, "started\n")
    assert alive(marker) == []


async def test_time_out_ends_grandchildren(box: Sandbox) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    sleeper = f"sh -c 'sleep 600; : {marker}'"
    result = await box.exec(f"setsid {sleeper} & {sleeper} & echo x; wait", timeout=0.7)
    assert (result.exit, result.timed_out, result.out) == (124, True, b"x\n")
    assert alive(marker) == []


async def test_cancelling_ends_the_command(box: Sandbox) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    task = asyncio.ensure_future(box.exec(f"setsid sh -c 'sleep 600; : {marker}' & wait"))
    await until(lambda: len(alive(marker)) >= 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(marker) == []
    assert (await box.exec("true")).ok


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.006])
async def test_cancelling_at_the_very_start_leaves_nothing(box: Sandbox, delay: float) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    task = asyncio.ensure_future(box.exec(f"sleep 600; : {marker}"))
    await asyncio.wait([task], timeout=delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(marker) == []


async def test_commands_of_one_sandbox_take_turns(box: Sandbox) -> None:
    line = "test ! -e busy && touch busy && sleep 0.05 && rm busy"
    results = await asyncio.gather(*(box.exec(line) for _ in range(4)))
    assert [r.exit for r in results] == [0, 0, 0, 0]


async def test_a_download_is_of_regular_files_only(box: Sandbox) -> None:
    await box.exec("mkfifo pipe; mkdir folder")
    for name in ("pipe", "folder"):
        with pytest.raises(SandboxError, match="not a regular file"):
            await box.download(name)
    with pytest.raises(SandboxError, match="upload"):
        await box.upload("folder", b"x")
