"""The `e2b` provider behind the port: keys, labels, heartbeat, snapshots, reaping, cost."""

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from harness.record import files
from harness.sandboxes import asking, folders
from harness.sandboxes.e2b import preparing
from harness.sandboxes.e2b.cloud import Cloud, Seen
from harness.sandboxes.e2b.jobs import PLACE, Runner
from harness.sandboxes.e2b.preparing import digest
from harness.sandboxes.e2b.sandbox import E2BSandbox
from harness.sandboxes.e2b.settings import E2BSettings, read_settings
from orchestrator.errors import FibreFlowError, SandboxError, SandboxGoneError

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
_OURS = "fibreflow"  # the labels of this program begin with it
_LABEL = f"{_OURS}_label_"


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
        self._opened: _Opened | None = None
        self._waiting: dict[str, Seen] = {}
        self._sandboxes: dict[str, E2BSandbox] = {}
        self._since: dict[str, float] = {}
        self._heart: asyncio.Task[None] | None = None

    # -------------------------------------------------------------------- bases

    async def prepare(self, spec: BaseSpec) -> Base:
        opened = await self._open()
        return await preparing.prepare(self._cloud, spec, opened.bases, opened.labels)

    async def snapshot(self, sandbox: Sandbox) -> Base:
        """The machine is ended with it: its state is in the snapshot, and it must not run on."""
        if not isinstance(sandbox, E2BSandbox):
            raise SandboxError(f"sandbox {sandbox.id} is not of the provider `e2b`")
        opened = await self._open()
        async with sandbox.turn:
            sandbox.check()
            name = f"{opened.snapshots}{digest(self._namespace)[:8]}-{secrets.token_hex(6)}"
            sandbox.frozen = True
            id_ = await self._cloud.snapshot(sandbox.cloud_id, name)
            sandbox.snapshots.append(id_)
            await self._stop(sandbox, self._cloud.kill)
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
        opened = await self._open()
        if key in self._sandboxes:
            raise SandboxError(f"sandbox {key} is in use; destroy it first, or take another key")
        waiting = self._waiting.get(key)
        if waiting is not None:
            return await self._reopen(key, waiting, base)
        # The key is taken before anything is awaited.
        made = self._new(key, base, None, asked, reopened=False)
        written = {
            **opened.labels,
            f"{_OURS}_namespace": self._namespace,
            f"{_OURS}_key": key,
            f"{_OURS}_base": base.id,
            f"{_OURS}_limits": json.dumps(asdict(asked)),
            **{_LABEL + name: value for name, value in (labels or {}).items()},
        }
        try:
            sdk = await self._cloud.create(
                base.handle.snapshot, written, asked, self._seconds(made)
            )
        except BaseException:
            self._sandboxes.pop(key, None)
            raise
        self._started(made, sdk)
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
        await self._open()
        if id in self._sandboxes:
            return self._sandboxes[id]
        waiting = self._waiting.get(id)
        if waiting is None:
            raise SandboxGoneError(f"no sandbox {id} in the namespace {self._namespace}")
        return await self._reopen(id, waiting, None)

    async def _reopen(self, key: str, seen: Seen, wanted: Base | None) -> E2BSandbox:
        """A sandbox of a process that is dead, or that let go of it, as it was."""
        if wanted is not None and seen.labels.get(f"{_OURS}_base") != wanted.id:
            raise SandboxError(
                f"sandbox {key} exists from another base; destroy it first, or take another key"
            )
        opened = await self._open()
        del self._waiting[key]
        limits = json.loads(seen.labels.get(f"{_OURS}_limits", "{}"))
        asked = SandboxLimits(**{**limits, "allow": tuple(limits.get("allow", ()))})
        base = wanted or Base(seen.labels[f"{_OURS}_base"], "", opened.bases)
        made = self._new(key, base, None, asked, reopened=True)
        try:
            self._started(made, await self._cloud.connect(seen.id, self._seconds(made)))
            await made.runner.sweep()
            if wanted is None:
                made.base = await self._base_of(made)
        except BaseException:
            self._sandboxes.pop(key, None)
            self._waiting[key] = seen
            raise
        return made

    async def _base_of(self, sandbox: E2BSandbox) -> Base:
        """What a sandbox says it was made from."""
        opened = await self._open()
        said: list[str] = []
        await sandbox.runner.root(f"cat {PLACE}/base.json", said.append)
        facts = json.loads("".join(said))
        commit, base = facts.pop("commit"), facts.pop("id")
        folder = opened.bases / base / "facts"
        folder.mkdir(parents=True, exist_ok=True)
        return Base(sandbox.base.id, commit, folder, preparing.parsed(facts))

    def _new(
        self, key: str, base: Base, sdk: Any, limits: SandboxLimits, *, reopened: bool
    ) -> E2BSandbox:
        made = E2BSandbox(
            key, base, Runner(key, sdk, self.settings), limits,
            reopened=reopened, end=self._destroy, renew=self._renew,
        )  # fmt: skip
        self._sandboxes[key] = made
        return made

    def _started(self, sandbox: E2BSandbox, sdk: Any) -> None:
        sandbox.begin(sdk)
        self._since[sandbox.id] = time.monotonic()
        if self._heart is None or self._heart.done():
            self._heart = asyncio.create_task(self._beat())

    async def _destroy(self, sandbox: E2BSandbox) -> None:
        self._sandboxes.pop(sandbox.id, None)
        await self._stop(sandbox, self._cloud.kill)
        for id_ in sandbox.snapshots:
            await self._cloud.delete_snapshot(id_)

    async def _stop(self, sandbox: E2BSandbox, how: Callable[[str], Any]) -> None:
        """End or pause its machine, and account for the time it ran."""
        since = self._since.pop(sandbox.id, None)
        if since is None:
            return
        try:
            await how(sandbox.cloud_id)
        finally:
            self._cloud.release()
            seconds = time.monotonic() - since
            self.on_use(SandboxUse(sandbox.id, seconds, self.settings.cost_usd(seconds)))

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
            for key in list(self._since):
                sandbox = self._sandboxes.get(key)
                if sandbox is None or (sandbox.left() or 1.0) <= 0:
                    continue
                # A beat that is lost is made up for by the next; a sandbox that is gone says so
                # to whoever uses it.
                with contextlib.suppress(FibreFlowError):
                    await self._renew(sandbox)

    # ------------------------------------------------------------- book-keeping

    async def list(
        self, labels: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> tuple[SandboxInfo, ...]:
        opened = await self._open()
        wanted = {**opened.labels, **{_LABEL + k: v for k, v in (labels or {}).items()}}
        if namespace is not None:
            wanted[f"{_OURS}_namespace"] = folders.file_name(namespace)
        seen = [s for s in await self._cloud.list(wanted) if f"{_OURS}_key" in s.labels]
        return tuple(self._info(s) for s in sorted(seen, key=lambda s: s.started))

    def _info(self, seen: Seen) -> SandboxInfo:
        own = {k.removeprefix(_LABEL): v for k, v in seen.labels.items() if k.startswith(_LABEL)}
        namespace, key = seen.labels[f"{_OURS}_namespace"], seen.labels[f"{_OURS}_key"]
        # A machine that runs has shown a sign of life, or will be paused when none comes.
        return SandboxInfo(key, namespace, own, seen.running, seen.started)

    async def reap(self, namespace: str | None = None) -> int:
        opened = await self._open()
        wanted = None if namespace is None else folders.file_name(namespace)
        gone = 0
        for seen in await self._cloud.list(opened.labels):
            if self._may_go(seen, wanted):
                await self._cloud.kill(seen.id)
                self._waiting.pop(seen.labels.get(f"{_OURS}_key", ""), None)
                gone += f"{_OURS}_key" in seen.labels
        await self._drop_snapshots(opened, wanted)
        return gone

    def _may_go(self, seen: Seen, wanted: str | None) -> bool:
        namespace = seen.labels.get(f"{_OURS}_namespace")
        if namespace == self._namespace:
            open_here = {s.cloud_id for s in self._sandboxes.values() if s.runner.sdk}
            return wanted == namespace and seen.id not in open_here
        if seen.running:
            return False
        old = time.time() - seen.started > folders.KEPT_SECONDS
        return namespace == wanted if wanted is not None else old

    async def _drop_snapshots(self, opened: "_Opened", wanted: str | None) -> None:
        """Those a crash left: of the namespace that goes, or of this one from before."""
        prefix = f"{opened.snapshots}{digest(wanted or self._namespace)[:8]}-"
        in_use = {id_ for s in self._sandboxes.values() for id_ in s.snapshots}
        for name, id_ in (await self._cloud.snapshots()).items():
            if name.startswith(prefix) and id_ not in in_use:
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
        self._waiting = {}

    async def _leave(self, sandbox: E2BSandbox, how: Callable[[str], Any]) -> None:
        sandbox.gone = True
        with contextlib.suppress(SandboxError):  # its lifetime ends it
            await self._stop(sandbox, how)
            for id_ in sandbox.snapshots:
                await self._cloud.delete_snapshot(id_)

    async def _open(self) -> "_Opened":
        async with self._opening:
            if self._opened is None:
                opened = await asyncio.to_thread(_open_now, self._wanted)
                own = {**opened.labels, f"{_OURS}_namespace": self._namespace}
                found = await self._cloud.list(own)
                self._waiting = {
                    s.labels[f"{_OURS}_key"]: s for s in found if f"{_OURS}_key" in s.labels
                }
                self._opened = opened
            return self._opened


@dataclass(frozen=True, slots=True)
class _Opened:
    """`deployment` is this state folder's own name in the account: others' sandboxes, though of
    the same account, are never touched."""

    bases: Path
    deployment: str

    @property
    def labels(self) -> dict[str, str]:
        return {f"{_OURS}_deployment": self.deployment}

    @property
    def snapshots(self) -> str:
        """How the names of this deployment's passing snapshots begin."""
        return f"fibreflow-{self.deployment}-"


def _open_now(wanted: tuple[Path | None, Path | None]) -> _Opened:
    state, wanted_cache = wanted
    cache = folders.cache_folder(wanted_cache)
    root = next(p for p in folders.state_candidates(state, cache) if folders.usable(p)) / "e2b"
    root.mkdir(parents=True, exist_ok=True)
    name = root / "deployment"
    with folders.locked(root / ".deployment.lock"):
        if not name.exists():
            files.replace(name, secrets.token_hex(5))
    return _Opened(cache / "e2b", name.read_text(encoding="utf-8"))
