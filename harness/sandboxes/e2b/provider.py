"""The `e2b` provider behind the port: keys, labels, heartbeat, snapshots, reaping, cost."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.ports import (
    Base,
    BaseSpec,
    Capabilities,
    Sandbox,
    SandboxInfo,
    SandboxLimits,
    SandboxUse,
)
from harness.sandboxes import asking, folders
from harness.sandboxes.e2b import deployment, preparing
from harness.sandboxes.e2b.cloud import Cloud, Seen
from harness.sandboxes.e2b.deployment import OURS, Deployment
from harness.sandboxes.e2b.jobs import Runner
from harness.sandboxes.e2b.sandbox import E2BSandbox
from harness.sandboxes.e2b.settings import E2BSettings, read_settings
from harness.sandboxes.undisturbed import undisturbed
from orchestrator.errors import FibreFlowError, SandboxError, SandboxGoneError, SandboxOutdatedError

_CAPABILITIES = Capabilities(
    "full",
    True,
    {
        "memory_mb": "watched", "processes": "watched", "open_files": "enforced",
        "file_mb": "enforced", "disk_mb": "watched", "inodes": "watched",
        "cpu_seconds": "watched", "wall_seconds": "enforced",
    },
    ("a virtual machine of E2B each; where hosts are allowed, names can be looked up too",),
    allow_list=True,
)  # fmt: skip
#: Signs of life in one lifetime: two may be lost.
_BEATS = 3
#: Seconds that a machine lives on after its own limit.
_GRACE = 30.0
_LABEL = f"{OURS}_label_"


class E2BSandboxProvider:
    """See `harness.ports.SandboxProvider`. `on_use` hears of each stretch that was paid for."""

    name = "e2b"
    capabilities = _CAPABILITIES

    def __init__(
        self,
        namespace: str,
        state: Path | None = None,
        cache: Path | None = None,
        *,
        settings: E2BSettings | None = None,
    ) -> None:
        self.settings = settings or read_settings(os.environ)
        self.on_use: Callable[[SandboxUse], None] = lambda _: None
        self._cloud = Cloud(self.settings)
        self._namespace = folders.file_name(namespace)
        self._wanted = (state, cache)
        self._opening = asyncio.Lock()
        self._opened: Deployment | None = None
        self._ended: set[str] = set()
        self._sandboxes: dict[str, E2BSandbox] = {}
        self._since: dict[str, float] = {}
        self._heart: asyncio.Task[None] | None = None

    # -------------------------------------------------------------------- bases

    async def prepare(self, spec: BaseSpec) -> Base:
        opened = await self._open()
        place = preparing.Workplace(self._cloud, opened.labels, self._used)
        return await preparing.prepare(place, spec, opened.bases)

    async def snapshot(self, sandbox: Sandbox) -> Base:
        """The machine is ended with it: its state is in the snapshot, and it must not run on."""
        if not isinstance(sandbox, E2BSandbox):
            raise SandboxError(f"sandbox {sandbox.id} is not of the provider `e2b`")
        opened = await self._open()
        async with sandbox.turn:
            sandbox.check()
            name = opened.snapshot_name(self._namespace)
            sandbox.frozen = True
            id_ = await self._cloud.snapshot(sandbox.cloud_id, name)
            sandbox.snapshots.append(id_)
            await self._end(sandbox)
        base = sandbox.base
        facts = opened.bases / name / "facts"
        facts.mkdir(parents=True, exist_ok=True)
        handle = replace(base.handle, snapshot=id_)
        return Base(f"{base.id}+{name[-12:]}", base.commit, facts, handle)

    # ---------------------------------------------------------------- sandboxes

    async def create(
        self,
        base: Base,
        key: str,
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> E2BSandbox:
        asked = asking.checked(self.name, self.capabilities, limits)
        if key in self._sandboxes:
            raise SandboxError(f"sandbox {key} is in use; destroy it first, or take another key")
        made = self._new(key, base, asked)  # the key is taken before anything is awaited
        async with self._kept_only_if_started(made):
            seen = await self._find(key)
            if seen is None:
                await self._make(made, labels or {})
            elif seen.labels.get(f"{OURS}_base") == base.id:
                await self._reopen(made, seen)
            else:
                raise SandboxOutdatedError(
                    f"sandbox {key} exists from another base; destroy it first, or take another key"
                )
        return made

    async def _make(self, made: E2BSandbox, labels: Mapping[str, str]) -> None:
        opened = await self._open()
        written = {
            **opened.labels,
            f"{OURS}_namespace": self._namespace,
            f"{OURS}_key": made.id,
            f"{OURS}_base": made.base.id,
            f"{OURS}_limits": json.dumps(asdict(made.limits)),
            **{_LABEL + name: value for name, value in labels.items()},
        }
        snapshot = made.base.handle.snapshot
        sdk = await self._cloud.create(snapshot, written, made.limits, self._seconds(made))
        self._started(made, sdk)

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
        seen = await self._find(id) if id not in self._sandboxes else None
        if id in self._sandboxes:
            return self._sandboxes[id]
        if seen is None:
            raise SandboxGoneError(f"no sandbox {id} in the namespace {self._namespace}")
        opened = await self._open()
        unknown = Base(seen.labels[f"{OURS}_base"], "", opened.bases)
        made = self._new(id, unknown, SandboxLimits())
        async with self._kept_only_if_started(made):
            await self._reopen(made, seen)
            made.base = await self._base_of(made)
        return made

    async def _find(self, key: str) -> Seen | None:
        """The sandbox that another process has made with `key`, or this one let go of. The
        cloud is asked each time: of many workers of a run, one goes on where another died."""
        opened = await self._open()
        own = {f"{OURS}_namespace": self._namespace, f"{OURS}_key": key}
        found = await self._cloud.list({**opened.labels, **own})
        there = [seen for seen in found if seen.id not in self._ended]
        return max(there, key=lambda seen: (seen.running, seen.started), default=None)

    async def _reopen(self, made: E2BSandbox, seen: Seen) -> None:
        """Go on in a machine as it was left: with its own limits, and nothing that runs."""
        limits = json.loads(seen.labels.get(f"{OURS}_limits", "{}"))
        made.limits = SandboxLimits(**{**limits, "allow": tuple(limits.get("allow", ()))})
        made.reopened = True
        self._started(made, await self._cloud.connect(seen.id, self._seconds(made)))
        await made.runner.sweep()

    @contextlib.asynccontextmanager
    async def _kept_only_if_started(self, made: E2BSandbox) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            self._sandboxes.pop(made.id, None)
            await undisturbed(self._leave(made, self._cloud.pause))
            raise

    async def _base_of(self, sandbox: E2BSandbox) -> Base:
        """What a sandbox says it was made from."""
        opened = await self._open()
        facts = await preparing.told(sandbox.runner)
        commit, base = facts.pop("commit"), facts.pop("id")
        folder = opened.bases / base / "facts"
        folder.mkdir(parents=True, exist_ok=True)
        return Base(sandbox.base.id, commit, folder, preparing.parsed(facts))

    def _new(self, key: str, base: Base, limits: SandboxLimits) -> E2BSandbox:
        runner = Runner(key, None, self.settings)
        made = E2BSandbox(key, base, runner, limits, end=self._destroy, renew=self._renew)
        self._sandboxes[key] = made
        return made

    def _started(self, sandbox: E2BSandbox, sdk: Any) -> None:
        sandbox.begin(sdk)
        self._since[sandbox.id] = time.monotonic()
        if self._heart is None or self._heart.done():
            self._heart = asyncio.create_task(self._beat())

    async def _destroy(self, sandbox: E2BSandbox) -> None:
        self._sandboxes.pop(sandbox.id, None)
        await self._end(sandbox)
        for id_ in sandbox.snapshots:
            await self._cloud.delete_snapshot(id_)

    async def _end(self, sandbox: E2BSandbox) -> None:
        if sandbox.runner.sdk is not None:  # a list of the cloud's may show it for a while yet
            self._ended.add(sandbox.cloud_id)
        await self._stop(sandbox, self._cloud.kill)

    async def _stop(self, sandbox: E2BSandbox, how: Callable[[str], Any]) -> None:
        """End or pause its machine, and account for the time it ran."""
        since = self._since.pop(sandbox.id, None)
        if since is None:
            return
        try:
            await how(sandbox.cloud_id)
        finally:
            self._cloud.release()
            self._used(sandbox.id, time.monotonic() - since)

    def _used(self, name: str, seconds: float) -> None:
        self.on_use(SandboxUse(name, seconds, self.settings.cost_usd(seconds)))

    # ---------------------------------------------------------------- heartbeat

    def _seconds(self, sandbox: E2BSandbox) -> float:
        """How long its machine shall live from now without a sign of life."""
        left = sandbox.left()
        lifetime = self.settings.lifetime_seconds
        # The end by its own limit comes first, from inside, as the end of a command.
        return lifetime if left is None else min(lifetime, max(left, 0.0) + _GRACE)

    async def _renew(self, sandbox: E2BSandbox) -> None:
        await self._cloud.extend(sandbox.cloud_id, self._seconds(sandbox))

    async def _beat(self) -> None:
        while self._since:
            await asyncio.sleep(self.settings.lifetime_seconds / _BEATS)
            # All at once: behind a hundred slow answers, the last would come too late.
            await asyncio.gather(*(self._sign_of_life(key) for key in list(self._since)))

    async def _sign_of_life(self, key: str) -> None:
        sandbox = self._sandboxes.get(key)
        left = None if sandbox is None else sandbox.left()
        if sandbox is not None and (left is None or left > 0):
            # One that is lost is made up for by the next; a sandbox that is gone says so to
            # whoever uses it.
            with contextlib.suppress(FibreFlowError):
                await self._renew(sandbox)

    # ------------------------------------------------------------- book-keeping

    async def list(
        self, labels: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> tuple[SandboxInfo, ...]:
        opened = await self._open()
        wanted = {**opened.labels, **{_LABEL + k: v for k, v in (labels or {}).items()}}
        if namespace is not None:
            wanted[f"{OURS}_namespace"] = folders.file_name(namespace)
        seen = [s for s in await self._cloud.list(wanted) if f"{OURS}_key" in s.labels]
        return tuple(self._info(s) for s in sorted(seen, key=lambda s: s.started))

    def _info(self, seen: Seen) -> SandboxInfo:
        own = {k.removeprefix(_LABEL): v for k, v in seen.labels.items() if k.startswith(_LABEL)}
        namespace, key = seen.labels[f"{OURS}_namespace"], seen.labels[f"{OURS}_key"]
        # A machine that runs has shown a sign of life, or will be paused when none comes.
        return SandboxInfo(key, namespace, own, seen.running, seen.started)

    async def reap(self, namespace: str | None = None) -> int:
        opened = await self._open()
        wanted = None if namespace is None else folders.file_name(namespace)
        gone, at_work = 0, set()
        for seen in await self._cloud.list(opened.labels):
            if self._may_go(seen, wanted):
                await self._cloud.kill(seen.id)
                gone += f"{OURS}_key" in seen.labels
            elif seen.running:
                at_work.add(deployment.short(seen.labels.get(f"{OURS}_namespace", "")))
        if wanted == self._namespace:
            at_work.discard(deployment.short(wanted))
        await self._drop_snapshots(opened, wanted, at_work)
        return gone

    def _may_go(self, seen: Seen, wanted: str | None) -> bool:
        namespace = seen.labels.get(f"{OURS}_namespace")
        if namespace == self._namespace:
            open_here = {s.cloud_id for s in self._sandboxes.values() if s.runner.sdk}
            return wanted == namespace and seen.id not in open_here
        if seen.running:
            return False
        return namespace == wanted if wanted is not None else deployment.is_old(seen.started)

    async def _drop_snapshots(
        self, opened: Deployment, wanted: str | None, at_work: Set[str]
    ) -> None:
        """Those a crash left: all of the namespace that goes, the old ones of every other.

        Nothing tells whether a process lives that needs one: other workers of a run make theirs
        in the same namespace.
        """
        in_use = {id_ for s in self._sandboxes.values() for id_ in s.snapshots}
        goes = None if wanted is None else deployment.short(wanted)
        for name, id_ in (await self._cloud.snapshots()).items():
            left = opened.snapshot(name)
            if left is None or id_ in in_use or left.whose in at_work:
                continue
            if left.whose == goes or deployment.is_old(left.made_at):
                await self._cloud.delete_snapshot(id_)

    async def close(self, *, remove: bool = False) -> None:
        """What is open is paused, which costs nothing, and waits; `remove` ends it."""
        if self._heart is not None:
            self._heart.cancel()
        how = self._cloud.kill if remove else self._cloud.pause
        sandboxes = [*self._sandboxes.values()]
        self._sandboxes.clear()
        await asyncio.gather(*(self._leave(s, how) for s in sandboxes))
        if remove and self._opened is not None:
            await self.reap(self._namespace)
        await self._cloud.close()
        self._opened = None

    async def _leave(self, sandbox: E2BSandbox, how: Callable[[str], Any]) -> None:
        sandbox.gone = True
        with contextlib.suppress(SandboxError):  # its lifetime ends it
            await self._stop(sandbox, how)
            for id_ in sandbox.snapshots:
                await self._cloud.delete_snapshot(id_)

    async def _open(self) -> Deployment:
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(
                    deployment.find, self._wanted, self.settings.deployment
                )
            return self._opened
