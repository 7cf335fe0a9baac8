"""The state of one emulated E2B account: its sandboxes, their disks, and what goes wrong."""

import asyncio
import datetime
import json
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.emulators.e2b_machine import Machine, copy_disk

ENVD_VERSION = "0.6.7"
_LINK = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD /path" contains `match`.

    `status` answers instead of the handler, or, with `after`, once the work was done all the same.
    The others are for streams: cut the connection, or kill the sandbox, after that many records;
    wait before each record.
    """

    match: str
    times: int = 1
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    after: bool = False
    delay: float = 0.0
    cut_after: int | None = None
    kill_after: int | None = None
    record_delay: float = 0.0


@dataclass
class Box:
    id: str
    template: str
    body: dict[str, Any]
    disk: Path
    started: float
    end: float
    machine: Machine | None = None
    state: str = "running"

    @property
    def token(self) -> str:
        return f"token-{self.id}"


class Account:
    """What a folder holds, and what is running. `most` caps running sandboxes (429)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boxes: dict[str, Box] = {}
        self.keys: dict[str, Box] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.most: int | None = None
        self.rows = 100  # of a list, in one answer
        self.filters = True  # whether lists know what metadata was asked for
        self._making = 0
        self.url = ""
        for name in ("boxes", "disks", "files"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def disk(self, name: str) -> Path:
        """Of a template or snapshot, by any of its names."""
        plain = name.removesuffix(":default").rpartition("/")[2]
        return self.folder / "disks" / _LINK.sub("_", plain)

    def live(self) -> list[Box]:
        return [b for b in self.boxes.values() if self.awake(b)]

    def full(self) -> bool:
        return self.most is not None and len(self.live()) + self._making >= self.most

    def awake(self, box: Box) -> bool:
        """Whether it runs; one that has reached its end is stopped by being looked at."""
        if box.state == "running" and time.time() >= box.end:
            self.stop(box, "paused" if box.body.get("autoPause") else "killed")
        return box.state == "running"

    def load(self) -> None:
        """Sandboxes that an earlier server on this folder left."""
        for path in (self.folder / "boxes").glob("*.json"):
            data = json.loads(path.read_text())
            box = Box(**{**data, "disk": Path(data["disk"])})
            if box.state == "running":  # its machine went with that server
                box.state = "paused"
            self.boxes[box.id] = box

    def store(self, box: Box) -> None:
        path = self.folder / "boxes" / f"{box.id}.json"
        if box.state == "killed":
            path.unlink(missing_ok=True)
            return
        keep = ("id", "template", "body", "started", "end", "state")
        path.write_text(json.dumps({k: getattr(box, k) for k in keep} | {"disk": str(box.disk)}))

    def stop(self, box: Box, state: str) -> None:
        box.state = state
        if box.machine is not None:
            box.machine.kill()
            box.machine = None
        if state == "killed":
            shutil.rmtree(box.disk, ignore_errors=True)
        self.store(box)

    async def keep_time(self) -> None:
        """Ends sandboxes at their time, in the middle of a command too."""
        while True:
            await asyncio.sleep(0.02)
            for box in list(self.boxes.values()):
                self.awake(box)

    async def add(self, template: str, body: dict[str, Any], source: Path, seconds: float) -> Box:
        id_ = "i" + uuid.uuid4().hex[:19]
        disk = self.folder / "disks" / f"box-{id_}"
        self._making += 1
        try:
            await asyncio.to_thread(copy_disk, source, disk)
        finally:
            self._making -= 1
        now = time.time()
        box = Box(id_, template, body, disk, now, now + seconds)
        box.machine = Machine(disk, network=body.get("allow_internet_access") is not False)
        self.boxes[id_] = box
        self.store(box)
        return box

    def shown(self, box: Box) -> dict[str, Any]:
        return {
            "templateID": box.template, "sandboxID": box.id, "clientID": "emulator",
            "envdVersion": ENVD_VERSION, "envdAccessToken": box.token, "domain": None,
        }  # fmt: skip

    def listed(self, box: Box) -> dict[str, Any]:
        return {
            **self.shown(box), "startedAt": iso(box.started), "endAt": iso(box.end),
            "cpuCount": 2, "memoryMB": 1024, "diskSizeMB": 10240, "state": box.state,
            "metadata": box.body.get("metadata") or {},
        }  # fmt: skip


def iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def refusal(status: int, message: str) -> Response:
    return JSONResponse({"code": status, "message": message}, status)


def page(request: Request, rows: list[dict[str, Any]], most: int) -> Response:
    size = min(int(request.query_params.get("limit") or most), most)
    start = int(request.query_params.get("nextToken") or 0)
    more = {"x-next-token": str(start + size)} if len(rows) > start + size else {}
    return JSONResponse(rows[start : start + size], headers=more)
