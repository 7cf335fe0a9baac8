"""The control plane of the emulated E2B: sandboxes, snapshots, forks."""

import asyncio
import shutil
import time
import urllib.parse
import uuid

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.emulators.e2b_account import Account, Box, page, refusal
from tests.emulators.e2b_machine import Machine, copy_disk


class ControlPlane:
    def __init__(self, account: Account) -> None:
        self.account = account

    def routes(self) -> list[Route]:
        one = "/sandboxes/{id}"
        return [
            Route("/v2/sandboxes", self.create, methods=["POST"]),
            Route("/v2/sandboxes", self.list, methods=["GET"]),
            Route(one, self.info, methods=["GET"]),
            Route(one, self.kill, methods=["DELETE"]),
            Route(f"{one}/timeout", self.timeout, methods=["POST"]),
            Route(f"/v2{one}/connect", self.connect, methods=["POST"]),
            Route(f"{one}/pause", self.pause, methods=["POST"]),
            Route(f"{one}/snapshots", self.snapshot, methods=["POST"]),
            Route(f"{one}/fork", self.fork, methods=["POST"]),
            Route("/snapshots", self.snapshots, methods=["GET"]),
            Route("/templates/{id:path}", self.delete_template, methods=["DELETE"]),
        ]

    def found(self, request: Request) -> Box | None:
        box = self.account.boxes.get(request.path_params["id"])
        if box is not None:
            self.account.awake(box)
        return box if box is not None and box.state != "killed" else None

    async def create(self, request: Request) -> Response:
        body, key = await request.json(), request.headers.get("idempotency-key")
        if key and key in self.account.keys:
            return JSONResponse(self.account.shown(self.account.keys[key]), 201)
        if self.account.full():
            return refusal(429, "you have reached the maximum number of concurrent E2B sandboxes")
        source = self.account.disk(body["templateID"])
        if not source.is_dir():
            return refusal(404, f"template '{body['templateID']}' not found")
        box = await self.account.add(body["templateID"], body, source, body.get("timeout", 300))
        if key:
            self.account.keys[key] = box
        return JSONResponse(self.account.shown(box), 201)

    async def list(self, request: Request) -> Response:
        unquote = urllib.parse.unquote
        pairs = urllib.parse.parse_qsl(request.query_params.get("metadata", ""))
        wanted = {unquote(k): unquote(v) for k, v in pairs}
        states = request.query_params.getlist("state") or ["running,paused"]
        states = [state for text in states for state in text.split(",")]
        self.account.live()
        rows = [
            self.account.listed(b)
            for b in self.account.boxes.values()
            if b.state in states
            and (
                not self.account.filters or wanted.items() <= (b.body.get("metadata") or {}).items()
            )
        ]
        return page(request, rows, self.account.rows)

    async def info(self, request: Request) -> Response:
        box = self.found(request)
        return JSONResponse(self.account.listed(box)) if box else refusal(404, "sandbox not found")

    async def kill(self, request: Request) -> Response:
        box = self.found(request)
        if box is None:
            return refusal(404, "sandbox not found")
        self.account.stop(box, "killed")
        return Response(status_code=204)

    async def timeout(self, request: Request) -> Response:
        box = self.found(request)
        if box is None or box.state != "running":
            return refusal(404, "sandbox not found")
        box.end = time.time() + (await request.json())["timeout"]
        self.account.store(box)
        return Response(status_code=204)

    async def connect(self, request: Request) -> Response:
        box = self.found(request)
        if box is None:
            return refusal(404, "sandbox not found")
        end = time.time() + (await request.json()).get("timeout", 300)
        if box.state == "running":
            box.end = max(box.end, end)
            return JSONResponse(self.account.shown(box), 200)
        network = box.body.get("allow_internet_access") is not False
        box.machine, box.state, box.end = Machine(box.disk, network=network), "running", end
        self.account.store(box)
        return JSONResponse(self.account.shown(box), 201)

    async def pause(self, request: Request) -> Response:
        box = self.found(request)
        if box is None:
            return refusal(404, "sandbox not found")
        if box.state == "paused":
            return refusal(409, "sandbox is already paused")
        self.account.stop(box, "paused")
        return Response(status_code=204)

    async def snapshot(self, request: Request) -> Response:
        box = self.found(request)
        if box is None:
            return refusal(404, "sandbox not found")
        name = (await request.json()).get("name") or uuid.uuid4().hex[:20]
        target = self.account.disk(name)
        await asyncio.to_thread(shutil.rmtree, target, True)
        await asyncio.to_thread(copy_disk, box.disk, target)
        (target / "snapshot").write_text(name)
        return JSONResponse({"snapshotID": f"{name}:default", "names": [f"team/{name}:v1"]}, 201)

    async def snapshots(self, request: Request) -> Response:
        wanted = request.query_params.get("name")
        names = [p.read_text() for p in sorted((self.account.folder / "disks").glob("*/snapshot"))]
        rows = [
            {"snapshotID": f"{name}:default", "names": [f"team/{name}:v1"]}
            for name in names
            if wanted is None or wanted == name
        ]
        return page(request, rows, self.account.rows)

    async def fork(self, request: Request) -> Response:
        box = self.found(request)
        if box is None:
            return refusal(404, "sandbox not found")
        body, results = await request.json(), []
        for _ in range(body.get("count", 1)):
            if self.account.full():
                results.append({"error": {"code": 429, "message": "too many sandboxes"}})
                continue
            made = await self.account.add(
                box.template, box.body, box.disk, body.get("timeout", 300)
            )
            results.append({"sandbox": self.account.shown(made)})
        return JSONResponse(results, 201)

    async def delete_template(self, request: Request) -> Response:
        folder = self.account.disk(request.path_params["id"])
        if not folder.is_dir():
            return refusal(404, "not found")
        await asyncio.to_thread(shutil.rmtree, folder)
        return Response(status_code=204)
