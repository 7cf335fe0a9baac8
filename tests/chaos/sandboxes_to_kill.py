"""Started by a test and killed: opens, uses and destroys sandboxes whose commands want to stay.

Says "." on standard output before each round of commands, and goes on until its input ends.
"""

import asyncio
import os
import select
import sys
from pathlib import Path

from harness.ports import BaseSpec, Sandbox, SandboxLimits
from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxError

COMMANDS = (
    "echo kept > kept; (sleep 600 &); setsid sleep 600 & true",
    "trap '' TERM HUP; setsid nohup sleep 600 > /dev/null 2>&1 & sleep 0.05",
    "mkdir -p a/b && mv a/b c && rm -rf a c; sleep 0.01",
    "true",
)
LIMITS = SandboxLimits(cpus=2.0, processes=50)


async def one(provider: LocalSandboxProvider, box: Sandbox, round_: int) -> None:
    """A sandbox that somebody killed is an error of its command, and works again afterwards."""
    try:
        await box.exec(COMMANDS[(round_ + len(box.id)) % len(COMMANDS)], timeout=30)
    except SandboxError:
        assert (await box.exec("echo works")).text == "works\n"


async def main(repo: str, state: str, cache: str) -> None:
    provider = LocalSandboxProvider("chaos", Path(state), Path(cache))
    base = await provider.prepare(BaseSpec(Path(repo), "HEAD"))
    limits = LIMITS if provider.capabilities.limits["cpus"] == "enforced" else SandboxLimits()
    boxes = [await provider.create(base, "k" * n, limits=limits) for n in (1, 2, 3)]
    round_ = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        round_ += 1
        os.write(1, b".")
        # Two kills in a row may meet the second try too.
        await asyncio.gather(*(one(provider, b, round_) for b in boxes), return_exceptions=True)
        if round_ % 3 == 0:
            await boxes[0].destroy()
            boxes[0] = await provider.create(base, "k", limits=limits)
    for box in boxes:
        assert (await box.exec("echo still")).text == "still\n"
    await provider.close(remove=True)


asyncio.run(main(*sys.argv[1:]))
