"""`fibreflow sandbox`: open one to look around in, list what exists, remove what was left."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

from harness import sandboxes
from harness.cli import streams
from harness.cli.flags import Command, SandboxOptions
from harness.ports import BaseSpec, Connection, ExecResult, Sandbox, SandboxInfo, SandboxProvider
from harness.sandboxes.folder_provider import FolderProvider
from harness.sandboxes.profiles import profile
from orchestrator.errors import GitError, InputError

_LABELS = {"made_by": "fibreflow sandbox run"}
#: Who makes the empty commit: always the same one, so that its base is prepared once.
_NOBODY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "fibreflow"),
        ("EMAIL", "f@localhost"),
        ("DATE", "2000-01-01T00:00:00Z"),
    )
}
#: What ends the command from outside: Ctrl-C where there is no terminal for it to go through,
#: a polite kill, and a terminal that is closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def sandbox(command: Command) -> int:
    """The exit code: the command's own for `run`, else 0."""
    options = command.sandbox
    assert options is not None
    streams.opened()
    if options.action == "run":
        return asyncio.run(_until_signal(_run(options)))
    return asyncio.run(_list(options) if options.action == "list" else _reap(options))


async def _until_signal(work: Coroutine[None, None, int]) -> int:
    """The exit code of `work`, or of the signal by which it was ended; it tidies up first."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    came: list[int] = []

    def end(number: int) -> None:
        came.append(number)
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not came:
            raise
        return 128 + came[0]


async def _run(options: SandboxOptions) -> int:
    limits = profile(options.profile)
    limits = replace(limits, allow=(*limits.allow, *options.allow))
    provider = _provider(options)
    with _repository(options.repo) as repo:
        try:
            await _reap_left(provider)
            base = await provider.prepare(BaseSpec(repo, "HEAD", options.setup))
            box = await provider.create(base, "shell", labels=_LABELS, limits=limits)
            result = await _through(box, options.command or _shell())
        finally:
            await provider.close(remove=True)
    said = "its time is over (wall_seconds)" if result.timed_out else result.err.decode().strip()
    if said:
        print(f"fibreflow: {said}", file=sys.stderr)
    return result.exit


async def _reap_left(provider: SandboxProvider) -> None:
    """What one like us that was killed has left: nobody will open it again."""
    if isinstance(provider, FolderProvider):  # on this machine, which knows who lives
        left = {info.namespace for info in await provider.list(_LABELS) if not info.live}
        for namespace in left:
            await provider.reap(namespace)


def _provider(options: SandboxOptions) -> SandboxProvider:
    name = f"sandbox-{os.getpid()}"
    chosen = options.provider or sandboxes.default()
    return sandboxes.provider(chosen, name, observe=_say)


def _say(asked: Connection) -> None:
    how = "allowed" if asked.allowed else f"refused: {asked.reason}"
    # Meanwhile the terminal is the command's, and begins a line nowhere by itself.
    end = "\r\n" if os.isatty(2) else "\n"
    print(f"fibreflow: connection to {asked.host}:{asked.port} {how}", file=sys.stderr, end=end)


def _shell() -> tuple[str, ...]:
    return ("/bin/sh", "-c", "command -v bash > /dev/null && exec bash -i; exec sh -i")


async def _through(box: Sandbox, argv: tuple[str, ...]) -> ExecResult:
    """Run `argv` on this terminal, or where the provider has none to offer, with its output
    passed on as it comes."""
    attach = getattr(box, "attach", None)
    if attach is None:
        stdin = None if os.isatty(0) else os.fdopen(0, "rb", closefd=False)
        return await box.exec(argv, stdin=stdin, timeout=1e9, limit=0, on_output=_pass_on)
    term = os.environ.get("TERM", "dumb")
    with streams.lent() as theirs:
        result: ExecResult = await attach(argv, theirs, env={"TERM": term})
    return result


def _pass_on(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


@contextlib.contextmanager
def _repository(given: Path | None) -> Iterator[Path]:
    """The repository to look into; without one, an empty one for the while."""
    if given is not None:
        if not given.is_dir():
            raise InputError(f"--repo {given}: there is no such folder")
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="fibreflow-empty-") as folder:
        begin = ["init", "-q", "--template="]
        commit = ["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "commit", "-q",
                  "--allow-empty", "-m", "empty"]  # fmt: skip
        for args in (begin, commit):
            done = subprocess.run(
                ["git", *args],
                cwd=folder, env={**os.environ, **_NOBODY}, capture_output=True, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                raise GitError(f"git {' '.join(args)} in {folder}: {done.stderr.decode().strip()}")
        yield Path(folder)


async def _list(options: SandboxOptions) -> int:
    provider = _provider(options)
    try:
        found = await provider.list()
    finally:
        await provider.close(remove=True)
    if options.json:
        print(json.dumps([_to_json(info) for info in found]))
        return 0
    if not found:
        print("no sandboxes")
    for info in found:
        labels = " ".join(f"{name}={value}" for name, value in sorted(info.labels.items()))
        age = f"{max(time.time() - info.made_at, 0) / 60:.0f} min"
        state = "in use" if info.live else "waits to be reopened"
        print(f"{info.namespace}  {info.id}  {state}  {age}  {labels}".rstrip())
    return 0


def _to_json(info: SandboxInfo) -> dict[str, object]:
    labels = dict(info.labels)
    return {
        "namespace": info.namespace, "id": info.id, "live": info.live,
        "made_at": info.made_at, "labels": labels,
    }  # fmt: skip


async def _reap(options: SandboxOptions) -> int:
    provider = _provider(options)
    why = ""
    try:
        count = await provider.reap(options.namespace)
        if options.namespace is not None and not count:
            there = await provider.list(namespace=options.namespace)
            why = ": it is in use" if there else f": there is nothing of {options.namespace}"
    finally:
        await provider.close(remove=True)
    print(f"removed {count}{why}")
    return 0
