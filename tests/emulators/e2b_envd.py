"""envd of the emulated E2B: files and processes of one sandbox, as its SDK speaks to it."""

import asyncio
import base64
import contextlib
import gzip
import json
import os
import signal
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.emulators.e2b_account import Account, Box, Fault, refusal
from tests.emulators.e2b_machine import DEFAULT_UID, Machine, Process, follow


class CutError(Exception):
    """Makes the server drop the connection."""


class Envd:
    def __init__(self, account: Account) -> None:
        self.account = account

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health, methods=["GET"]),
            Route("/files", self.read, methods=["GET"]),
            Route("/files", self.write, methods=["POST"]),
            Route("/process.Process/Start", self.process_start, methods=["POST"]),
            Route("/process.Process/Connect", self.process_connect, methods=["POST"]),
            Route("/process.Process/{method}", self.process_call, methods=["POST"]),
        ]

    def machine(self, request: Request) -> tuple[Box, Machine | None, Response]:
        """The edge answers 502 for a sandbox that does not run; the SDK reads its words."""
        id_ = request.headers.get("e2b-sandbox-id", "")
        box = self.account.boxes.get(id_) or Box(id_, "", {}, Path(), 0, 0, state="killed")
        if not self.account.awake(box) or box.machine is None or not box.machine.alive:
            said = {"sandboxId": id_, "message": "The sandbox was not found", "code": 502}
            return box, None, JSONResponse(said, 502)
        if request.headers.get("x-access-token") != box.token:
            said = {"code": "unauthenticated", "message": "no access token"}
            return box, None, JSONResponse(said, 401)
        return box, box.machine, Response()

    async def health(self, request: Request) -> Response:
        _, machine, refused = self.machine(request)
        return Response(status_code=204) if machine else refused

    async def read(self, request: Request) -> Response:
        box, machine, refused = self.machine(request)
        if machine is None:
            return refused
        fault = request.scope["fault"] or Fault("")
        path = _absolute(request.query_params["path"])
        status, _, _ = await machine.run(["test", "-f", path], uid=_uid(request))
        if status:
            return refusal(404, f"path '{path}' does not exist")
        process = await machine.start(["cat", "--", path], uid=_uid(request))

        async def content() -> AsyncIterator[bytes]:
            count = 0
            async for event in follow(process, 0):
                await self._go_wrong(fault, box, count)
                yield event.get("data", {}).get("stdout", b"")
                count += 1

        return StreamingResponse(content(), media_type="application/octet-stream")

    async def write(self, request: Request) -> Response:
        _, machine, refused = self.machine(request)
        if machine is None:
            return refused
        path, uid = request.query_params.get("path"), _uid(request)
        said = []
        if request.headers["content-type"].startswith("multipart/"):
            async with request.form() as form:
                for part in form.getlist("file"):
                    assert not isinstance(part, str)
                    name = _absolute(path or part.filename or "")
                    said.append(await self._save(machine, name, uid, _parts(part)))
        else:
            assert path
            body: AsyncIterator[bytes] = request.stream()
            if request.headers.get("content-encoding") == "gzip":
                body = _once(gzip.decompress(await request.body()))
            said.append(await self._save(machine, _absolute(path), uid, body))
        if any(entry is None for entry in said):
            return refusal(500, "the file could not be written")
        return JSONResponse(said)

    async def _save(
        self, machine: Machine, path: str, uid: int, body: AsyncIterator[bytes]
    ) -> dict[str, str] | None:
        script = 'mkdir -p -- "$(dirname -- "$1")" && exec cat > "$1"'
        process = await machine.start(["/bin/sh", "-c", script, "sh", path], uid=uid, stdin=True)
        with contextlib.suppress(BrokenPipeError):
            async for data in body:
                await _write(process, data)
        machine.close_stdin(process)
        async for event in follow(process, 0):
            if event.get("end"):
                return None
        return {"path": path, "name": Path(path).name, "type": "file"}

    async def process_start(self, request: Request) -> Response:
        box, machine, refused = self.machine(request)
        if machine is None:
            return refused
        body = _unwrapped(await request.body())
        config = body["process"]
        argv = [config["cmd"], *config.get("args", [])]
        uid = _uid(request)
        home = "/root" if uid == 0 else "/home/user"
        process = await machine.start(
            argv, env=config.get("envs"), cwd=config.get("cwd") or home, uid=uid,
            stdin=bool(body.get("stdin")),
        )  # fmt: skip
        process.config = config
        milliseconds = int(request.headers.get("connect-timeout-ms") or 0)
        return self._stream(request, box, process, 0, milliseconds / 1000)

    async def process_connect(self, request: Request) -> Response:
        box, machine, refused = self.machine(request)
        if machine is None:
            return refused
        process = _selected(machine, _unwrapped(await request.body()))
        if process is None:
            return _connect_stream(_once(_ended("not_found", "process not found")))
        # envd does not say again what was said before.
        return self._stream(request, box, process, len(process.log), 0)

    def _stream(
        self, request: Request, box: Box, process: Process, start: int, seconds: float
    ) -> Response:
        fault = request.scope["fault"] or Fault("")

        async def records() -> AsyncIterator[bytes]:
            yield _enveloped({"event": {"start": {"pid": process.pid}}})
            count = 0
            async for event in follow(process, start):
                await self._go_wrong(fault, box, count)
                if not self.account.awake(box):
                    why = f"the connection to sandbox {box.id} ended before the stream completed"
                    yield _ended("unavailable", why)
                    return
                yield _enveloped({"event": _event(event)})
                count += 1
            yield _enveloped({}, 2)

        async def limited() -> AsyncIterator[bytes]:
            """envd ends the process and the stream at the client's deadline."""
            try:
                async with asyncio.timeout(seconds or None):
                    async for record in records():
                        yield record
            except TimeoutError:
                if box.machine is not None:
                    box.machine.signal(process.pid, signal.SIGKILL)
                yield _ended("deadline_exceeded", "context deadline exceeded")

        return _connect_stream(limited() if seconds else records())

    async def _go_wrong(self, fault: Fault, box: Box, count: int) -> None:
        await asyncio.sleep(fault.record_delay)
        if fault.kill_after is not None and count >= fault.kill_after:
            self.account.stop(box, "killed")
            raise CutError
        if fault.cut_after is not None and count >= fault.cut_after:
            raise CutError

    async def process_call(self, request: Request) -> Response:
        _, machine, refused = self.machine(request)
        if machine is None:
            return refused
        method, body = request.path_params["method"], await request.json()
        if method == "List":
            rows = [{"pid": p.pid, "config": dict(p.config)} for p in machine.processes.values()]
            return JSONResponse({"processes": [r for r in rows if r["config"]]})
        process = _selected(machine, body)
        if process is None:
            return JSONResponse({"code": "not_found", "message": "process not found"}, 404)
        if method == "SendInput":
            await _write(process, base64.b64decode(body["input"]["stdin"]))
        elif method == "CloseStdin":
            machine.close_stdin(process)
        elif method == "SendSignal":
            kill = "KILL" in str(body["signal"])
            machine.signal(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        else:
            return JSONResponse({"code": "unimplemented", "message": method}, 501)
        return JSONResponse({})


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/home/user/{path}"


def _uid(request: Request) -> int:
    """The user asked for: by basic authentication, or by name in the query."""
    name = request.query_params.get("username", "")
    given = request.headers.get("authorization", "")
    if given.startswith("Basic "):
        name = base64.b64decode(given[6:]).decode().partition(":")[0]
    return 0 if name == "root" else DEFAULT_UID


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _parts(part: Any) -> AsyncIterator[bytes]:
    while data := await part.read(65536):
        yield data


async def _write(process: Process, data: bytes) -> None:
    await asyncio.to_thread(_write_all, process.stdin, data)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _selected(machine: Machine, body: dict[str, Any]) -> Process | None:
    pid = body["process"].get("pid")
    return next((p for p in machine.processes.values() if p.pid == pid), None)


# Connect: a message is plain JSON; a stream is records [flags: 1 byte][length: 4][JSON], HTTP 200
# always, and the last one, with flag 2, says how it ended.


def _enveloped(message: dict[str, Any], flags: int = 0) -> bytes:
    data = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def _ended(code: str, message: str) -> bytes:
    return _enveloped({"error": {"code": code, "message": message}}, 2)


def _unwrapped(data: bytes) -> Any:
    length = struct.unpack(">BI", data[:5])[1]
    return json.loads(data[5 : 5 + length] or b"{}")


def _connect_stream(records: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(records, media_type="application/connect+json")


def _event(event: dict[str, Any]) -> dict[str, Any]:
    if "data" in event:
        return {"data": {k: base64.b64encode(v).decode() for k, v in event["data"].items()}}
    status = event["end"]
    if status == 0:  # Go leaves zero values out
        return {"end": {"exited": True, "status": "exit status 0"}}
    words = f"exit status {status}" if status > 0 else "signal: killed"
    code = status if status > 0 else -1
    return {"end": {"exited": status > 0, "exitCode": code, "status": words, "error": words}}
