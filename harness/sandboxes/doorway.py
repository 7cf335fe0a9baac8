"""A listening socket inside a sandbox's network, held by this process and by nobody inside."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence

from harness.sandboxes.child import Child, Launch
from harness.sandboxes.undisturbed import undisturbed
from orchestrator.errors import SandboxError

#: In a network of the sandbox's own, where nobody else listens.
PORT = 3128
_SECONDS = 20.0
#: Listens where it is started and hands the socket over; it runs outside of the sandbox's file
#: system, so nothing the sandbox holds takes part.
_SCRIPT = (
    "import socket,sys;l=socket.create_server(('127.0.0.1',int(sys.argv[2])),backlog=128);"
    "s=socket.socket(fileno=int(sys.argv[1]));socket.send_fds(s,[b'x'],[l.fileno()])"
)


async def listener(entrance: Sequence[str]) -> socket.socket:
    """A socket listening on `PORT` in the network that the command prefix `entrance` leads to.

    Raises `SandboxError` when that fails.
    """
    ours, theirs = socket.socketpair()
    python = os.path.realpath(sys.executable)
    script = [python, "-I", "-S", "-c", _SCRIPT, str(theirs.fileno()), str(PORT)]
    with ours, theirs:
        child = Child(Launch([*entrance, *script], {}, "/", pass_fds=(theirs.fileno(),)))
        try:
            async with asyncio.timeout(_SECONDS):
                await asyncio.wait([child.exited])
        finally:
            child.kill()
            status = await undisturbed(_end(child))
        ours.setblocking(False)
        fds: list[int] = []
        with contextlib.suppress(BlockingIOError):
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    if not fds:
        said = child.err.value().decode("utf-8", "replace").strip()[-300:]
        raise SandboxError(f"the sandbox's network has no way out: {said or f'exit {status}'}")
    os.set_inheritable(fds[0], False)
    found = socket.socket(fileno=fds[0])
    found.setblocking(False)
    return found


async def _end(child: Child) -> int:
    status = await child.exited
    await child.drained
    child.close()
    return status
