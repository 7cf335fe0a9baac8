"""The `local` provider: bubblewrap cages over overlay workspaces, nothing left running between."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.ports import (
    Base,
    BaseSpec,
    Capabilities,
    Held,
    LimitName,
    Observe,
    Sandbox,
    SandboxInfo,
    SandboxLimits,
)
from harness.sandboxes import asking, bases, claim, folders, rlimits
from harness.sandboxes.bases import Layers
from harness.sandboxes.cage import Place
from harness.sandboxes.claim import Record
from harness.sandboxes.guard import Guard
from harness.sandboxes.holding import Holding
from harness.sandboxes.opening import Opened, open_provider
from harness.sandboxes.workshop import LocalWorkshop
from harness.sandboxes.workspace import LocalSandbox
from orchestrator.errors import SandboxError, SandboxGoneError


class LocalSandboxProvider:
    """Isolated sandboxes on this machine. See `harness.ports.SandboxProvider`.

    Workspaces live in `state`/`namespace`/key and survive a crash of this program; giving the
    same namespace (a run's id) reopens them. `overlay` False makes workspaces copies: slower,
    but a folder of the base can be renamed by one system call, which an overlay refuses (EXDEV).
    """

    name = "local"

    def __init__(
        self,
        namespace: str,
        state: Path | None = None,
        cache: Path | None = None,
        observe: Observe | None = None,
        *,
        overlay: bool = True,
    ) -> None:
        self._namespace = folders.file_name(namespace)
        self._wanted = (state, cache)
        self._observe = observe
        self._overlay = overlay
        self.guard = Guard()
        self._intact: set[Path] = set()
        self._opening = asyncio.Lock()
        self._opened: Opened | None = None
        self._sandboxes: dict[str, LocalSandbox] = {}

    @property
    def capabilities(self) -> Capabilities:
        grouped = self._opened.shop.groups.controllers if self._opened else frozenset[str]()
        counted = rlimits.processes_enforced() or "pids" in grouped
        limits: dict[LimitName, Held] = {
            "memory_mb": "enforced" if "memory" in grouped else "watched",
            "processes": "enforced" if counted else "watched",
            "open_files": "enforced",
            "file_mb": "enforced",
            "disk_mb": "watched",
            "inodes": "watched",
            "cpus": "enforced" if "cpu" in grouped else "none",
            "cpu_seconds": "watched",
            "wall_seconds": "enforced",
        }
        notes = self._opened.notes if self._opened else ()
        return Capabilities("full", True, limits, notes, allow_list=True)

    async def workspaces(self) -> Path:
        """The folder this namespace's workspaces are in."""
        return (await self._open()).namespace

    async def prepare(self, spec: BaseSpec) -> Base:
        opened = await self._open()
        workshop = LocalWorkshop(opened)
        base = await bases.prepare(spec, opened.cache, opened.toolbox, workshop, self._intact)
        overlay = opened.overlay and base.handle.overlay
        return replace(base, workspaces="overlay" if overlay else "copy")

    async def create(
        self,
        base: Base,
        key: str,
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> LocalSandbox:
        opened = await self._open()
        asked = asking.checked(self.name, self.capabilities, limits)
        folder = opened.namespace / folders.file_name(key)
        known = claim.record(folder)  # reopened, it stays what it was made as
        layers: Layers = (known.base if known else base).handle
        lock_fd, reopened = claim.claim(folder, Record(key, base, asked, labels or {}))
        overlay = opened.overlay and layers.overlay
        place = Place(base.handle, folder, opened.root, overlay=overlay)
        holding = Holding(key, lock_fd, asked.wall_seconds)
        sandbox = LocalSandbox(key, opened.shop, place, asked, holding, base=base)
        sandbox.reopened = reopened
        self._sandboxes = {k: s for k, s in self._sandboxes.items() if not s.gone}
        self._sandboxes[key] = sandbox
        return sandbox

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
        opened = await self._open()
        open_here = self._sandboxes.get(id)
        if open_here is not None and not open_here.gone:
            return open_here
        known = claim.record(opened.namespace / folders.file_name(id))
        if known is None:
            raise SandboxGoneError(f"no sandbox {id} in {opened.namespace}")
        return await self.create(known.base, id, labels=known.labels, limits=known.limits)

    async def list(
        self, labels: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> tuple[SandboxInfo, ...]:
        return await asyncio.to_thread(
            claim.listed, (await self._open()).namespace.parent, namespace, labels or {}
        )

    async def snapshot(self, sandbox: Sandbox) -> Base:
        if not isinstance(sandbox, LocalSandbox) or sandbox.base is None:
            raise SandboxError(f"sandbox {sandbox.id} is not of the provider `local`")
        await sandbox.freeze()
        folder, layers = sandbox.place.folder, sandbox.place.layers
        facts = folder / "facts"
        facts.mkdir(exist_ok=True)
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        below = layers.trees if sandbox.place.overlay else ()
        stacked = replace(layers, trees=(*below, folder / "upper"))
        return Base(f"{sandbox.base.id}+{name}", sandbox.base.commit, facts, stacked)

    async def reap(self, namespace: str | None = None) -> int:
        opened = await self._open()
        wanted = None if namespace is None else folders.file_name(namespace)
        return await asyncio.to_thread(claim.reap, opened.namespace, wanted)

    async def close(self, *, remove: bool = False) -> None:
        """Kill what runs. `remove` also removes this namespace's workspaces; otherwise they
        wait for a later run of the same name."""
        for sandbox in self._sandboxes.values():
            sandbox.release()
        self._sandboxes.clear()
        await self.guard.close()
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.shop.groups.remove()
            await asyncio.to_thread(claim.leave, opened.namespace, opened.lock_fd, remove=remove)

    async def _open(self) -> Opened:
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await open_provider(
                        self._namespace,
                        self._wanted,
                        self.guard,
                        self._observe,
                        overlay=self._overlay,
                    )
        return self._opened
