"""Template builds of the emulated E2B: steps really run, and their layers are kept."""

import asyncio
import contextlib
import hashlib
import shutil
import tarfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.emulators.e2b_account import Account, iso, refusal
from tests.emulators.e2b_machine import DEFAULT_UID, Machine, copy_disk, new_disk
from tests.emulators.e2b_wheels import wheelhouse

#: What a build's pip finds offline.
WHEELS = ["pip", "setuptools", "wheel", "pytest", "coverage", "ruff", "iniconfig", "packaging",
          "pluggy", "pygments"]  # fmt: skip


@dataclass
class Build:
    template: str
    name: str
    status: str = "waiting"
    reason: dict[str, Any] | None = None
    log: list[dict[str, Any]] = field(default_factory=list)


class Builds:
    """`layers` may be shared by emulators: what a step made is found by all steps up to it."""

    def __init__(self, account: Account, layers: Path | None) -> None:
        self.account = account
        self.layers = layers or account.folder / "layers"
        self.layers.mkdir(parents=True, exist_ok=True)
        self.builds: dict[str, Build] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        return [
            Route("/v3/templates", self.template, methods=["POST"]),
            Route("/templates/aliases/{alias:path}", self.alias, methods=["GET"]),
            Route("/templates/{id}/files/{hash}", self.file_link, methods=["GET"]),
            Route("/uploads/{hash}", self.file_upload, methods=["PUT"]),
            Route("/v2/templates/{id}/builds/{build}", self.build, methods=["POST"]),
            Route("/templates/{id}/builds/{build}/status", self.build_status, methods=["GET"]),
        ]

    async def template(self, request: Request) -> Response:
        body = await request.json()
        build = uuid.uuid4().hex
        self.builds[build] = Build(f"t{uuid.uuid4().hex[:10]}", body["name"])
        said = {
            "templateID": self.builds[build].template, "buildID": build, "public": False,
            "names": [body["name"]], "tags": [], "aliases": [body["name"]],
        }  # fmt: skip
        return JSONResponse(said, 202)

    async def alias(self, request: Request) -> Response:
        name = request.path_params["alias"]
        if not (self.account.disk(name) / "template").exists():
            return refusal(404, "not found")
        return JSONResponse({"templateID": name, "public": False})

    async def file_link(self, request: Request) -> Response:
        name = request.path_params["hash"]
        present = (self.account.folder / "files" / name).exists()
        return JSONResponse({"present": present, "url": f"{self.account.url}/uploads/{name}"}, 201)

    async def file_upload(self, request: Request) -> Response:
        target = self.account.folder / "files" / request.path_params["hash"]
        target.write_bytes(await request.body())
        return Response(status_code=200)

    async def build(self, request: Request) -> Response:
        build, body = self.builds[request.path_params["build"]], await request.json()
        task = asyncio.create_task(self._build(build, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Response(status_code=202)

    async def build_status(self, request: Request) -> Response:
        id_ = request.path_params["build"]
        build, start = self.builds[id_], int(request.query_params.get("logsOffset") or 0)
        said: dict[str, Any] = {
            "templateID": build.template, "buildID": id_, "status": build.status,
            "logs": [], "logEntries": build.log[start : start + 100],
        }  # fmt: skip
        return JSONResponse(said | ({"reason": build.reason} if build.reason else {}))

    async def _build(self, build: Build, body: dict[str, Any]) -> None:
        build.status = "building"
        disk = self.account.folder / "disks" / f"making-{uuid.uuid4().hex}"
        steps = body.get("steps") or []
        # What was built before for the same steps so far is taken from there.
        parts = [repr(steps[: number + 1]).encode() for number in range(len(steps))]
        names = [hashlib.sha256(part).hexdigest() for part in parts]
        done = [n for n, name in enumerate(names) if (self.layers / name).is_dir()]
        if done:
            layer = self.layers / names[done[-1]]
            await asyncio.to_thread(copy_disk, layer, disk, linked=False)
        else:
            await asyncio.to_thread(new_disk, disk)
            house = await asyncio.to_thread(wheelhouse, self.account.folder / "wheels", WHEELS)
            await asyncio.to_thread(shutil.copytree, house, disk / "tmp" / "wheels")
        machine = Machine(disk)
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/tmp/wheels", "PIP_NO_COMPILE": "1"}
        state: dict[str, Any] = {"uid": DEFAULT_UID, "cwd": "/home/user", "env": offline}
        try:
            for number, step in enumerate(steps):
                run = not done or number > done[-1]
                why = await self._step(build, machine, disk, state, step, run=run)
                if why:
                    build.reason = {"message": why, "step": str(number)}
                    build.status = "error"
                    return
                if run and step["type"] == "RUN":
                    await asyncio.to_thread(_keep_layer, disk, self.layers / names[number])
            machine.kill()
            await asyncio.to_thread(shutil.rmtree, disk / "tmp" / "wheels")
            target = self.account.disk(build.name)
            if not target.exists():
                disk.rename(target)
            (target / "template").touch()
            build.status = "ready"
        finally:
            machine.kill()
            await asyncio.to_thread(shutil.rmtree, disk, True)

    async def _step(
        self,
        build: Build,
        machine: Machine,
        disk: Path,
        state: dict[str, Any],
        step: Any,
        *,
        run: bool,
    ) -> str:
        """Why it failed, or nothing. Without `run` only what it means for later steps is done."""
        kind, args = step["type"], step.get("args") or []
        if kind == "USER":
            state["uid"] = 0 if args[0] == "root" else DEFAULT_UID
        elif kind == "WORKDIR":
            state["cwd"] = args[0]
        elif kind == "ENV":
            state["env"] |= dict(zip(args[::2], args[1::2], strict=True))
        elif not run and kind in ("COPY", "RUN"):
            pass
        elif kind == "COPY":
            archive = self.account.folder / "files" / step["filesHash"]
            await asyncio.to_thread(_unpack, archive, disk / args[1].lstrip("/"))
        elif kind == "RUN":
            return await self._run(build, machine, state, args)
        else:
            return f"unknown step {kind}"
        return ""

    async def _run(
        self, build: Build, machine: Machine, state: dict[str, Any], args: list[str]
    ) -> str:
        uid = state["uid"] if len(args) < 2 else 0 if args[1] == "root" else DEFAULT_UID
        status, out, err = await machine.run(
            ["/bin/bash", "-l", "-c", args[0]], env=state["env"], cwd=state["cwd"], uid=uid
        )
        for line in (out + err).decode("utf-8", "replace").splitlines():
            entry = {"timestamp": iso(time.time()), "message": line, "level": "info"}
            build.log.append(entry)
        if status:
            return f"failed to run command '{args[0]}': exit status {status}"
        return ""


def _keep_layer(disk: Path, target: Path) -> None:
    making = target.with_suffix(f".{uuid.uuid4().hex}")
    copy_disk(disk, making, linked=False)
    with contextlib.suppress(OSError):  # another emulator was faster
        making.rename(target)
    shutil.rmtree(making, ignore_errors=True)


def _unpack(archive: Path, target: Path) -> None:
    """A COPY: the tar's one entry becomes the target, or goes into it when that is a folder."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if not member.isfile():
                continue
            place = target / Path(member.name).name if str(target).endswith("/") else target
            place = place / Path(member.name).name if place.is_dir() else place
            place.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(member)
            assert source is not None
            place.write_bytes(source.read())
