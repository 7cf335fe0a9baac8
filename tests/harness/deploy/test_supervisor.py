"""What keeps an environment: its port, and how much it takes from the sandbox at once."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.deploy.instance import Spec
from harness.deploy.relay import CHUNK, HEAD, read_frame
from harness.deploy.supervisor import Supervisor
from harness.record import files

#: A service that others keep up: it is only led to.
LED = Spec("n", "repo", "c" * 40, "d" * 64, None, (), 80, "/", {}, address="127.0.0.1:9")


async def seen(folder: Path, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The state as soon as it is so."""
    async with asyncio.timeout(20):
        while True:
            path = folder / "state.json"
            if path.exists() and condition(state := json.loads(path.read_bytes())):
                return dict(state)
            await asyncio.sleep(0.02)


async def test_a_port_that_is_taken_is_said_and_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = {"listen": port, "live": "blue", "instances": {"blue": LED.store()}}
        files.replace_json(tmp_path / "wanted.json", wanted)
        running = asyncio.create_task(Supervisor(tmp_path).run())
        state = await seen(tmp_path, lambda s: bool(s["error"]))
        assert state["port"] == 0 and f"port {port} cannot be had" in state["error"]
    assert (await seen(tmp_path, lambda s: bool(s["port"])))["port"] == port
    files.replace_json(tmp_path / "wanted.json", {**wanted, "instances": {}})
    await running
    assert not (tmp_path / "state.json").exists()


async def test_a_sandbox_cannot_have_its_keeper_hold_gigabytes() -> None:
    """Whoever is inside can write what it likes into the frames."""
    for length, taken in ((CHUNK, True), (CHUNK + 1, False)):
        reader = asyncio.StreamReader()
        reader.feed_data(HEAD.pack(1, b"d", length) + b"x" * length)
        reader.feed_eof()
        assert ((await read_frame(reader)) is not None) == taken
