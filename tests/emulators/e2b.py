"""Serves enough of E2B on a local socket for the real SDK: control plane, envd, template builds.

    with E2BServer(folder) as server:
        env = server.environment          # what points the SDK here
        server.faults.append(Fault("POST /v2/sandboxes", status=503, after=True))

Commands really run, in `e2b_machine`. What a folder holds (templates, snapshots, paused sandboxes)
is there again for the next server on it. `python -m tests.emulators.e2b FOLDER` serves until its
standard input closes and prints the variables to set.

Written against the sources of e2b 2.63; never compared with the cloud. Pausing keeps files, not
memory; `allow_internet_access` is honoured, finer network rules, metrics, volumes, secrets, PTYs
and the file-system RPCs are not there.
"""

import asyncio
import shlex
import socket
import sys
import threading
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse

from tests.emulators.e2b_account import Account, Fault, refusal
from tests.emulators.e2b_builds import Builds
from tests.emulators.e2b_control import ControlPlane
from tests.emulators.e2b_envd import Envd

__all__ = ["E2BServer", "Fault"]

_KEY = "e2b_emulated"


class _Application:
    """Routes, the account's faults in front of them, and its clock."""

    def __init__(self, account: Account, layers: Path | None) -> None:
        self.account = account
        builds = Builds(account, layers)
        self.layers = builds.layers
        parts = (builds, ControlPlane(account), Envd(account))
        self._app = Starlette(routes=[route for part in parts for route in part.routes()])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        key = f"{scope['method']} {scope['path']}"
        self.account.log.append(key)
        fault = next((f for f in self.account.faults if f.times > 0 and f.match in key), None)
        scope["fault"] = fault
        if fault is not None:
            fault.times -= 1
            await asyncio.sleep(fault.delay)
        if fault is not None and fault.status:
            if fault.after:
                await self._app(scope, receive, _ignore)
            said = fault.body or {"code": fault.status, "message": "injected"}
            headers = dict(fault.headers)
            await JSONResponse(said, fault.status, headers)(scope, receive, send)
            return
        control = "/process.Process" not in key and " /files" not in key and " /health" not in key
        given = dict(scope["headers"]).get(b"x-api-key", b"").decode()
        if control and "/uploads/" not in key and given != _KEY:
            await refusal(401, "Invalid API key")(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def serve(self, listening: socket.socket, server: uvicorn.Server) -> None:
        self.account.load()
        clock = asyncio.create_task(self.account.keep_time())
        try:
            await server.serve(sockets=[listening])
        finally:
            clock.cancel()
            for box in list(self.account.boxes.values()):
                if box.state == "running":
                    self.account.stop(box, "paused")


async def _ignore(_: Any) -> None:
    pass


class E2BServer:
    """The emulator in a thread of its own. `environment` points the SDK and FibreFlow to it."""

    def __init__(self, folder: Path, *, port: int = 0, layers: Path | None = None) -> None:
        self.cloud = Account(folder)
        self.application = _Application(self.cloud, layers)
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", port))
        self.cloud.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        config = uvicorn.Config(
            self.application, log_level="critical", lifespan="off", timeout_graceful_shutdown=1,
            access_log=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "E2B_API_URL": self.cloud.url,
            "E2B_SANDBOX_URL": self.cloud.url,
            "E2B_API_KEY": _KEY,
            "FIBREFLOW_E2B_CREATES_PER_SECOND": "1000",
            "FIBREFLOW_E2B_CONCURRENT": "100",
        }

    @property
    def faults(self) -> list[Fault]:
        return self.cloud.faults

    def _run(self) -> None:
        async def serve() -> None:
            task = asyncio.create_task(self.application.serve(self._listening, self._server))
            while not self._server.started and not task.done():
                await asyncio.sleep(0.005)
            self._ready.set()
            await task

        asyncio.run(serve())

    def start(self) -> Self:
        self._thread.start()
        self._ready.wait(30)
        return self

    def stop(self) -> None:
        """Running sandboxes become paused ones, for the next server on the folder."""
        self._server.should_exit = True
        self._thread.join(30)
        self._listening.close()

    def drop(self) -> None:
        """Go down at once, in the middle of whatever is said."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(30)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


if __name__ == "__main__":
    with E2BServer(Path(sys.argv[1]).resolve()) as running:
        for name, value in running.environment.items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.flush()
        sys.stdin.read()
