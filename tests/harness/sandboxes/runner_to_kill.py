"""Started by a test and killed: runs sandboxes whose commands want to outlive everything."""

import asyncio
import sys
from pathlib import Path

from harness.ports import BaseSpec
from harness.sandboxes.local import LocalSandboxProvider


async def main(repo: str, state: str, cache: str, marker: str) -> None:
    provider = LocalSandboxProvider("killed", Path(state), Path(cache))
    base = await provider.prepare(BaseSpec(Path(repo), "HEAD"))
    boxes = [await provider.create(base, f"k{n}") for n in range(4)]
    sleeper = f"sh -c 'trap \"\" TERM HUP; sleep 600; : {marker}'"
    line = f"echo kept > kept; setsid {sleeper} & (setsid nohup {sleeper} &); wait; sleep 600"
    await asyncio.gather(*(box.exec(line, timeout=600) for box in boxes))


asyncio.run(main(*sys.argv[1:]))
