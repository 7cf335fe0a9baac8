"""Runs commands in an E2B sandbox, through cut connections, late answers and cancellation.

Each command is a job of `inside.py`, which holds its limits and its time. The SDK only carries
text: its own time-outs cancel what they should not, it decodes output, its kill reaches one
process, and a new connection to a command does not say again what was said before.
"""

import asyncio
import base64
import json
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from harness.ports import ExecResult, SandboxLimits
from harness.sandboxes.capture import Capture
from harness.sandboxes.e2b.errors import translated
from harness.sandboxes.e2b.settings import E2BSettings
from harness.sandboxes.undisturbed import undisturbed
from orchestrator.errors import LimitReachedError, SandboxError, SandboxGoneError

#: Where our things are inside; only root writes there.
PLACE = "/opt/fibreflow"
INSIDE = f"{PLACE}/inside.py"
JOBS = f"{PLACE}/jobs"
#: The user that commands run as: without sudo, unlike E2B's `user`, and with nothing of its own
#: but the workspace.
AGENT = 20001
#: The longest job that travels in a command line; the kernel takes 128 KB for one argument.
_LONGEST_LINE = 60_000
#: What the job's own clock may be late by, before this side ends it.
_GRACE = 30.0
_END_SECONDS = 60.0
#: How often a file is asked for before it is given up.
_READS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """One command. `written` are the folders whose growth since `before` (kilobytes, files) is
    limited; `keep`: standard output goes to a file inside instead of coming here."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    limits: SandboxLimits
    timeout: float
    limit: int = 1_000_000
    stdin: bytes | BinaryIO | None = None
    on_output: Callable[[bytes], None] | None = None
    written: Sequence[str] = ()
    before: Sequence[int] = (0, 0)
    keep: bool = False


def document(job: Job, id_: str) -> dict[str, Any]:
    """The job as `inside.py` reads it."""
    limits = asdict(job.limits)
    rlimits = {"NOFILE": limits["open_files"], "CORE": 0}
    rlimits["FSIZE"] = None if limits["file_mb"] is None else limits["file_mb"] << 20
    return {
        "id": id_,
        "argv": [*job.argv],
        "env": dict(job.env),
        "cwd": job.cwd,
        "stdin": f"{JOBS}/{id_}.in" if job.stdin else None,
        "out": f"{JOBS}/{id_}.out" if job.keep else None,
        "timeout": job.timeout,
        "limit": job.limit,
        "live": job.on_output is not None,
        "uid": AGENT,
        "rlimits": {k: v for k, v in rlimits.items() if v is not None},
        "most": {k: limits[k] for k in ("memory_mb", "processes", "cpu_seconds", "disk_mb",
                                        "inodes")},
        "written": [*job.written],
        "before": [*job.before],
    }  # fmt: skip


@dataclass(slots=True)
class Records:
    """What a job has said so far. `position`: bytes of whole records, to go on from."""

    limit: int
    on_output: Callable[[bytes], None] | None = None
    position: int = 0
    said: Mapping[str, Any] | None = None
    head: Mapping[str, Capture] = field(init=False)
    tail: Mapping[str, bytearray] = field(init=False)
    _rest: str = ""

    def __post_init__(self) -> None:
        self.head = {"o": Capture(self.limit), "e": Capture(self.limit)}
        self.tail = {"o": bytearray(), "e": bytearray()}

    @property
    def lost(self) -> bool:
        """The command's supervisor was killed, so nobody knows how the command went."""
        return self.said is not None and "lost" in self.said

    def restart(self) -> None:
        """A new connection begins with a whole record."""
        self._rest = ""

    def feed(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self.position += len(line) + 1
            self._record(line[:1], line[2:])

    def _record(self, kind: str, content: str) -> None:
        if kind == "x":
            self.said = json.loads(content)
            return
        data = base64.b64decode(content)
        if kind in self.head:
            self.head[kind].feed(data)
            if self.on_output is not None:
                self.on_output(data)
        else:
            self.tail[kind.lower()] += data

    def value(self, kind: str, size: int) -> bytes:
        """At most `limit` bytes of a stream that was `size` bytes long."""
        head, tail = self.head[kind], self.tail[kind]
        if tail:
            left_out = size - head.size - len(tail)  # below zero where the two overlap
            head.feed(bytes(tail[max(-left_out, 0) :]))
            head.size += max(left_out, 0)
            tail.clear()
        return head.value()


class Runner:
    """Runs jobs in one sandbox. `sdk` is the SDK's object for it."""

    def __init__(self, name: str, sdk: Any, settings: E2BSettings) -> None:
        self._name = name
        self.sdk = sdk
        self._settings = settings

    async def run(self, job: Job, name: str | None = None) -> ExecResult:
        """Raises `SandboxGoneError` and `SandboxError`; whatever the command does is a value.

        When cancelled, the command is ended first. `name`: of its files in `JOBS`.
        """
        id_ = name or secrets.token_hex(8)
        records = Records(job.limit, job.on_output)
        work = asyncio.ensure_future(self._work(id_, job, records))
        try:
            async with asyncio.timeout(job.timeout + _GRACE + self._settings.patience_seconds):
                await asyncio.shield(work)
        except TimeoutError as error:
            raise SandboxError(
                f"a command in sandbox {self._name} did not end at its time; the sandbox hangs"
            ) from error
        finally:
            if records.said is None or records.lost:
                await undisturbed(self._end(id_, work))
        return _result(records)

    async def _work(self, id_: str, job: Job, records: Records) -> None:
        if job.stdin:
            await self.write(f"{JOBS}/{id_}.in", job.stdin)
        line = json.dumps(document(job, id_))
        spec = base64.b64encode(line.encode()).decode()
        if len(spec) > _LONGEST_LINE:
            await self.write(f"{JOBS}/{id_}.json", line.encode())
            spec = f"@{JOBS}/{id_}.json"
        last: Exception | None = None
        for tries in range(self._settings.reconnects + 1):
            await self._wait(tries)
            records.restart()
            try:
                await self._stream(["run", spec, str(records.position)], records.feed)
            except SandboxGoneError:
                raise
            except (SandboxError, LimitReachedError) as error:
                last = error
            if records.lost:
                raise SandboxError(
                    f"a command in sandbox {self._name} was lost: its supervisor was killed"
                    + (f" ({last})" if last else "")
                )
            if records.said is not None:
                return
        raise SandboxError(
            f"the connection to sandbox {self._name} was lost {self._settings.reconnects + 1} "
            f"times during one command; the last time: {last or 'it ended too early'}"
        )

    async def _end(self, id_: str, work: "asyncio.Future[None]") -> None:
        """End a job, begun or about to begin; when it cannot be reached, its own clock will."""
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._stream(["end", id_], lambda _: None)
                await asyncio.wait([work])
        except (TimeoutError, SandboxError, LimitReachedError):
            pass
        finally:
            work.cancel()
            await asyncio.wait([work])

    async def sweep(self) -> None:
        """End whatever runs and forget all jobs: nobody waits for them any more."""
        await self._stream(["sweep", str(AGENT)], lambda _: None)

    async def _stream(self, words: Sequence[str], hear: Callable[[str], None]) -> None:
        await self.root(f"exec python3 -I {INSIDE} {shlex.join(words)}", hear)

    async def root(self, line: str, hear: Callable[[str], None]) -> None:
        """Run a shell line as root to its end. Raises `SandboxError` when it fails."""
        with translated(f"run a command in sandbox {self._name}"):
            handle = await self.sdk.commands.run(
                line, background=True, user="root", cwd="/", timeout=0, on_stdout=hear,
                request_timeout=self._settings.request_seconds,
            )  # fmt: skip
            await handle.wait()

    async def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file as root, where nobody else can have put a link."""
        with translated(f"write {path} to sandbox {self._name}"):
            await self.sdk.files.write(
                path, data, user="root", use_octet_stream=True, request_timeout=3600
            )

    async def read_to(self, path: str, file: BinaryIO, limit: int) -> int:
        """Write at most `limit` bytes of a file of root's to `file`; how long it is.

        Asked again when the connection is lost: the file is whole and does not change.
        """
        size = 0

        async def read() -> None:
            nonlocal size
            at = 0
            stream = await self.sdk.files.read(path, format="stream", user="root")
            async with stream:
                async for data in stream:
                    fresh = data[max(size - at, 0) :]
                    file.write(fresh[: max(limit - size, 0)])
                    size += len(fresh)
                    at += len(data)

        for tries in range(_READS):
            await self._wait(tries)
            try:
                with translated(f"read {path} from sandbox {self._name}"):
                    await read()
                break
            except SandboxGoneError:
                raise
            except (SandboxError, LimitReachedError):
                if tries == _READS - 1:
                    raise
        return size

    async def _wait(self, tries: int) -> None:
        await asyncio.sleep(self._settings.reconnect_seconds * (2**tries - 1))


def _result(records: Records) -> ExecResult:
    assert records.said is not None
    said = records.said
    out, err = said["sizes"]
    return ExecResult(
        said["exit"], records.value("o", out), records.value("e", err), said["timed_out"],
        out > records.limit or err > records.limit, said["seconds"],
    )  # fmt: skip
