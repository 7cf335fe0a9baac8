"""One overlay workspace: commands in cages, one at a time, over files that stay between them."""

import asyncio
import contextlib
import functools
import os
import posixpath
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from harness.ports import ExecResult, SandboxLimits
from harness.sandboxes import allowlist, cage, claim, doorway, egress, rootfs
from harness.sandboxes.bases import Layers
from harness.sandboxes.cage import Cage, Place, Plan
from harness.sandboxes.child import Launch, Streams
from harness.sandboxes.egress import EgressProxy
from harness.sandboxes.folder_sandbox import FolderSandbox
from harness.sandboxes.guard import tool
from harness.sandboxes.holding import Holding
from harness.sandboxes.shop import Shop
from harness.sandboxes.slots import Overlay
from harness.sandboxes.toolbox import INSIDE
from harness.sandboxes.undisturbed import undisturbed
from harness.sandboxes.watch import Growth, watch
from orchestrator.errors import SandboxError

#: Commands shorter than this are not watched: most are, and a watch costs more than they do.
_UNWATCHED_SECONDS = 0.25


class LocalSandbox(FolderSandbox):
    """One overlay workspace. See `harness.ports.Sandbox`."""

    workdir = cage.WORKDIR
    base_git = cage.BASE_GIT

    def __init__(
        self,
        key: str,
        shop: Shop,
        place: Place,
        limits: SandboxLimits,
        holding: Holding | None = None,
    ) -> None:
        super().__init__(key, place.folder, place.layers, holding)
        self.overlay = place.overlay
        self._shop = shop
        self._limits = limits
        self._place = place
        self._proxy: EgressProxy | None = None
        if limits.allow:
            self._proxy = EgressProxy(key, allowlist.rules(limits.allow), shop.observe)
        self._furnished = False
        self._written = [self.folder / name for name in ("upper", "tmp", "home")]
        self._growth = Growth(self._written, limits)
        held = "memory" in shop.groups.controllers
        self._watched = replace(limits, memory_mb=None) if held else limits

    @functools.cached_property
    def _args(self) -> list[str]:
        return cage.arguments(self._place)

    @functools.cached_property
    def _overlays(self) -> tuple[Overlay, ...]:
        return cage.overlays(self._place)

    @functools.cached_property
    def _variables(self) -> dict[str, str]:
        found = environment(self.layers)
        if self._proxy is None:
            return found
        return found | egress.variables(doorway.PORT, rootfs.certificates(self._place.root))

    async def exec(  # noqa: PLR0913 - the port's signature
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
        argv = [self._shop.shell, "-c", command] if isinstance(command, str) else [*command]
        launch = Launch(argv, {}, stdin=stdin, limit=limit, on_output=on_output)
        return await self._take_turn(launch, cwd, env, timeout)

    async def attach(
        self,
        argv: Sequence[str],
        streams: tuple[int, int, int],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 1e9,
    ) -> ExecResult:
        """Run a command on these descriptors, which it can do anything with; its result has no
        output. A terminal among them is its own, of a session of its own."""
        terminal = ["-c"] if os.isatty(streams[0]) else []
        words = [tool("setsid"), *terminal, "--", *argv]
        return await self._take_turn(Launch(words, {}, streams=streams), None, env, timeout)

    async def _take_turn(
        self, launch: Launch, cwd: str | None, env: Mapping[str, str] | None, timeout: float
    ) -> ExecResult:
        where = posixpath.join(self.workdir, cwd) if cwd else self.workdir
        args = [*self._args, "--chdir", where]
        for name, value in (self._variables | dict(env or {})).items():
            args += ["--setenv", name, value]
        if any("\0" in word for word in (*args, *launch.argv)):
            return ExecResult(126, b"", b"cannot start the command: there is a zero byte in it\n")
        async with self._holding.turn:
            self._holding.check()
            await self._furnish()
            plan = Plan(self._shop.bwrap, args, self._overlays, gated=self._proxy is not None)
            return await self._run(plan, launch, self._holding.within(timeout))

    async def _furnish(self) -> None:
        """The host folders of the workspace, made when something is first to be put in them."""
        if self._furnished:
            return
        if self.overlay:
            claim.make_folders(self.folder, home_below=self.layers.home is not None)
        else:
            await asyncio.to_thread(claim.furnish, self.folder, self.layers)
        self._furnished = True

    async def untouched(self) -> bool:
        """True when certainly no command, of this process or one before it, has changed the
        repository's folder: an overlay keeps every change in its upper layer."""
        async with self._holding.turn:
            self._holding.check()
            upper = self.folder / "upper"
            return self.overlay and (not upper.is_dir() or not any(upper.iterdir()))

    async def _run(self, plan: Plan, launch: Launch, timeout: float) -> ExecResult:
        started = time.monotonic()
        reason, timed_out = "", False
        slots = self._shop.slots
        self._growth.begin()
        async with slots.borrowed(self._limits) as slot:

            def over_memory() -> str:
                return f"over {self._limits.memory_mb} MB of memory" if slot.over_memory() else ""

            running = Cage(slot, plan, launch)
            try:
                try:
                    async with asyncio.timeout(timeout), self._way_out(running):
                        reason = await self._until_end(running, over_memory)
                except TimeoutError:
                    timed_out = True
            finally:
                status = await undisturbed(running.finish())
                running.close()
            reason = over_memory() or reason or await self._growth.over()
        if running.refused:
            said = f"cannot start the command: {running.refused}\n".encode()
            return ExecResult(126, b"", said)
        if running.broken:
            raise SandboxError(f"the sandbox {self.id} {running.broken}")
        seconds = time.monotonic() - started
        return _result(running.streams, status, reason, timed_out=timed_out, seconds=seconds)

    @contextlib.asynccontextmanager
    async def _way_out(self, running: Cage) -> AsyncIterator[None]:
        """The proxy, where anything is allowed; without it, nothing leaves the cage."""
        init = 0 if self._proxy is None else await running.stands()
        if self._proxy is None or not init:
            yield
            return
        listener = await doorway.listener(self._shop.guard.network_entrance(init))
        async with self._proxy.serving(listener):
            running.open()
            yield

    async def _until_end(self, running: Cage, held: Callable[[], str]) -> str:
        """Wait for the command; the reason when a limit was passed and it must be killed."""
        ended = running.ended
        await asyncio.wait([ended], timeout=_UNWATCHED_SECONDS)
        while not ended.done() and not running.monitor():  # busy machine
            await asyncio.wait([ended], timeout=_UNWATCHED_SECONDS)
        if ended.done():
            return ""
        watching: asyncio.Future[str] = asyncio.ensure_future(
            # Its PID 1 and the process above that are ours.
            watch(running.monitor(), self._written, self._watched, held, ours=2)
        )
        try:
            both: set[asyncio.Future[Any]] = {ended, watching}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return watching.result() if watching.done() else ""
        finally:
            watching.cancel()

    async def freeze(self) -> None:
        await super().freeze()
        await self._furnish()


def _result(
    streams: Streams, status: int | None, reason: str, *, timed_out: bool, seconds: float
) -> ExecResult:
    out, err = streams.out, streams.err
    said = err.value()
    truncated = out.truncated or err.truncated
    if timed_out:
        return ExecResult(124, out.value(), said, True, truncated, seconds)
    if reason:
        said += f"\nkilled: {reason}\n".encode()
        return ExecResult(137, out.value(), said, False, truncated, seconds)
    if status is None:
        # Only bwrap itself can have written this: the command never started.
        if b"bwrap: execvp " in said:
            return ExecResult(127, b"", said, False, False, seconds)
        if b"bwrap: Can't chdir to " in said:
            return ExecResult(1, b"", said, False, False, seconds)
        detail = said.decode("utf-8", "replace").strip()[-500:]
        raise SandboxError(f"the sandbox failed to start or was killed from outside: {detail}")
    return ExecResult(status, out.value(), said, False, truncated, seconds)


def environment(layers: Layers) -> dict[str, str]:
    """The variables every command of a sandbox over `layers` finds."""
    first = [f"{cage.WORKDIR}/{folder}" for folder in layers.path]
    path = [*first, f"{INSIDE}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    variables = {
        "PATH": ":".join(path),
        "HOME": cage.HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "TMPDIR": "/tmp",  # noqa: S108 - inside
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": INSIDE,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if not layers.installed:
        source = any((tree / "src").is_dir() for tree in layers.trees)
        roots = [f"{cage.WORKDIR}/src"] if source else []
        variables["PYTHONPATH"] = ":".join([*roots, cage.WORKDIR])
    return variables | dict(layers.variables)
