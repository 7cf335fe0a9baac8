"""An in-memory sandbox provider for tests of what stands above the port.

It runs no shell. A command is a list, or a line split like one, and its first word is looked
up among the few built in here and those given to the provider. Everything else about the port
(keys, snapshots, destruction, transfers) behaves as the conformance suite says.
"""

import asyncio
import posixpath
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from harness.ports import (
    Base,
    BaseSpec,
    Capabilities,
    ExecResult,
    Sandbox,
    SandboxInfo,
    SandboxLimits,
)
from harness.sandboxes import asking
from orchestrator.errors import SandboxError, SandboxGoneError

Files = dict[str, bytes]
#: What a command does: its arguments, the files (to change in place), standard input.
Command = Callable[[Sequence[str], Files, bytes], ExecResult]


def _echo(args: Sequence[str], files: Files, stdin: bytes) -> ExecResult:
    return ExecResult(0, " ".join(args).encode() + b"\n", b"")


def _cat(args: Sequence[str], files: Files, stdin: bytes) -> ExecResult:
    if not args:
        return ExecResult(0, stdin, b"")
    missing = [a for a in args if _path(a) not in files]
    if missing:
        return ExecResult(1, b"", f"cat: {missing[0]}: No such file or directory\n".encode())
    return ExecResult(0, b"".join(files[_path(a)] for a in args), b"")


def _rm(args: Sequence[str], files: Files, stdin: bytes) -> ExecResult:
    for name in (a for a in args if not a.startswith("-")):
        files.pop(_path(name), None)
    return ExecResult(0, b"", b"")


def _exit(args: Sequence[str], files: Files, stdin: bytes) -> ExecResult:
    return ExecResult(int(args[0]) if args else 0, b"", b"")


BUILTINS: Mapping[str, Command] = {
    "cat": _cat,
    "echo": _echo,
    "exit": _exit,
    "false": lambda args, files, stdin: ExecResult(1, b"", b""),
    "rm": _rm,
    "true": lambda args, files, stdin: ExecResult(0, b"", b""),
}


def _path(path: str) -> str:
    return posixpath.normpath(posixpath.join("/work", path))


class FakeSandbox:
    workdir = "/work"
    base_git = "/run/fibreflow/base.git"

    def __init__(self, key: str, base: Base, files: Files, commands: Mapping[str, Command]):
        self.id = key
        self.reopened = False
        self.base = base
        self.files = files
        self.ran: list[str | Sequence[str]] = []
        self.frozen = False
        self.gone = False
        self.ends: float | None = None
        self.labels: Mapping[str, str] = {}
        self.made_at = time.time()
        self._commands = commands

    def _check(self) -> None:
        if self.gone or (self.ends is not None and time.monotonic() >= self.ends):
            raise SandboxGoneError(f"sandbox {self.id} was destroyed, or its life is over")
        if self.frozen:
            raise SandboxError(f"sandbox {self.id} is a snapshot")

    async def exec(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | BinaryIO | None = None,
        timeout: float = 120.0,
        limit: int = 1_000_000,
        on_output: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        self._check()
        self.ran.append(command)
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if words[0] == "sleep":
            return await self._sleep(float(words[1]), timeout)
        run = self._commands.get(words[0])
        if run is None:
            return ExecResult(127, b"", f"{words[0]}: not found\n".encode())
        given = stdin if isinstance(stdin, bytes | None) else stdin.read()
        result = run(words[1:], self.files, given or b"")
        if on_output is not None and result.out:
            on_output(result.out)
        cut = len(result.out) > limit
        return ExecResult(result.exit, result.out[:limit], result.err[:limit], False, cut)

    async def _sleep(self, seconds: float, timeout: float) -> ExecResult:
        try:
            left = timeout if self.ends is None else min(timeout, self.ends - time.monotonic())
            async with asyncio.timeout(left):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return ExecResult(124, b"", b"", timed_out=True)
        return ExecResult(0, b"", b"")

    async def upload(self, path: str, data: bytes | BinaryIO) -> None:
        self._check()
        self.files[_path(path)] = data if isinstance(data, bytes) else data.read()

    async def download(self, path: str, *, limit: int = 64_000_000) -> bytes:
        self._check()
        if _path(path) not in self.files:
            raise FileNotFoundError(f"no {path} in sandbox {self.id}")
        if len(self.files[_path(path)]) > limit:
            raise SandboxError(f"{path} is larger than {limit} bytes")
        return self.files[_path(path)]

    async def download_to(self, path: str, file: BinaryIO, *, limit: int = 1 << 40) -> int:
        return file.write(await self.download(path, limit=limit))

    async def extend(self, seconds: float) -> None:
        self._check()
        if self.ends is not None:
            self.ends = max(self.ends, time.monotonic() + seconds)

    async def destroy(self) -> None:
        self.gone = True


class FakeSandboxProvider:
    """`files` is what every base holds; `commands` are added to those built in."""

    name = "fake"
    namespace = "conformance"
    #: It runs nothing that could pass a limit, but for the time that a `sleep` takes.
    capabilities = Capabilities(
        "none",
        False,
        {
            "memory_mb": "enforced", "processes": "enforced", "open_files": "enforced",
            "file_mb": "enforced", "disk_mb": "enforced", "inodes": "enforced",
            "wall_seconds": "enforced",
        },
        ("runs no shell",),
    )  # fmt: skip

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, bytes] | None = None,
        commands: Mapping[str, Command] | None = None,
    ):
        self._folder = folder
        self._files = {_path(name): data for name, data in (files or {}).items()}
        self._commands = {**BUILTINS, **(commands or {})}
        self.sandboxes: dict[str, FakeSandbox] = {}

    async def prepare(self, spec: BaseSpec) -> Base:
        self._folder.mkdir(parents=True, exist_ok=True)
        return Base(f"fake-{spec.commit}", spec.commit, self._folder, dict(self._files))

    async def create(
        self,
        base: Base,
        key: str,
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> FakeSandbox:
        asked = asking.checked(self.name, self.capabilities, limits)
        old = self.sandboxes.get(key)
        if old is not None and not old.gone:
            raise SandboxError(f"sandbox {key} is in use")
        made = FakeSandbox(key, base, dict(base.handle), self._commands)
        made.labels = labels or {}
        if asked.wall_seconds is not None:
            made.ends = time.monotonic() + asked.wall_seconds
        self.sandboxes[key] = made
        return made

    async def fork(
        self,
        base: Base,
        keys: Sequence[str],
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> tuple[Sandbox, ...]:
        return await asking.fork(self, base, keys, labels, limits)

    async def connect(self, id: str) -> Sandbox:  # noqa: A002 - the port's word for it
        found = self.sandboxes.get(id)
        if found is None or found.gone:
            raise SandboxGoneError(f"no sandbox {id}")
        return found

    async def list(
        self, labels: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> tuple[SandboxInfo, ...]:
        wanted = (labels or {}).items()
        return tuple(
            SandboxInfo(s.id, self.namespace, s.labels, True, s.made_at)
            for s in self.sandboxes.values()
            if not s.gone and wanted <= s.labels.items() and namespace in (None, self.namespace)
        )

    async def snapshot(self, sandbox: Sandbox) -> Base:
        assert isinstance(sandbox, FakeSandbox)
        sandbox._check()
        sandbox.frozen = True
        name = f"{sandbox.base.id}+{sandbox.id}"
        return Base(name, sandbox.base.commit, self._folder, dict(sandbox.files))

    async def reap(self, namespace: str | None = None) -> int:
        return 0  # it holds all there is

    async def close(self, *, remove: bool = False) -> None:
        for sandbox in self.sandboxes.values():
            sandbox.gone = True
