"""What every provider of workspaces in folders of this machine does, whatever runs in them."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from harness.ports import Base, BaseSpec, Capabilities, Sandbox, SandboxInfo, SandboxLimits
from harness.sandboxes import asking, bases, claim, folders
from harness.sandboxes.bases import Workshop
from harness.sandboxes.claim import Record
from harness.sandboxes.folder_sandbox import FolderSandbox
from harness.sandboxes.holding import Holding
from orchestrator.errors import SandboxError, SandboxGoneError


class Opened(Protocol):
    """Host folders of a provider in use; `lock_fd` holds `namespace`."""

    @property
    def cache(self) -> Path: ...
    @property
    def namespace(self) -> Path: ...
    @property
    def toolbox(self) -> Path: ...
    @property
    def lock_fd(self) -> int: ...


BoxT = TypeVar("BoxT", bound=FolderSandbox)
OpenedT = TypeVar("OpenedT", bound=Opened)


class FolderProvider(ABC, Generic[BoxT, OpenedT]):
    """See `harness.ports.SandboxProvider`.

    Workspaces live in `state`/namespace/key and survive a crash of this program; giving the same
    namespace (a run's id) reopens them. Who derives from it says how it is opened, what prepares
    its bases, and which sandbox stands in a folder.
    """

    name: str
    kind: type[BoxT]

    def __init__(self, namespace: str, state: Path | None, cache: Path | None) -> None:
        self._namespace = folders.file_name(namespace)
        self._wanted = (state, cache)
        self._intact: set[Path] = set()
        self._opening = asyncio.Lock()
        self._opened: OpenedT | None = None
        self._sandboxes: dict[str, BoxT] = {}

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities: ...

    @abstractmethod
    async def _open_now(self) -> OpenedT:
        """Find the folders and tools, and hold the namespace."""

    @abstractmethod
    def _workshop(self, opened: OpenedT) -> Workshop: ...

    @abstractmethod
    async def _stand(
        self, opened: OpenedT, /, folder: Path, wanted: Record, holding: Holding
    ) -> BoxT:
        """The sandbox in `folder`, which this process holds."""

    async def prepare(self, spec: BaseSpec) -> Base:
        opened = await self._open()
        workshop = self._workshop(opened)
        base = await bases.prepare(spec, opened.cache, opened.toolbox, workshop, self._intact)
        return replace(base, workspaces="copy")

    async def create(
        self,
        base: Base,
        key: str,
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> BoxT:
        opened = await self._open()
        asked = asking.checked(self.name, self.capabilities, limits)
        folder = opened.namespace / folders.file_name(key)
        wanted = Record(key, base, asked, labels or {})
        bases.used(base.handle)
        lock_fd, known = claim.claim(folder, wanted)
        holding = Holding(key, lock_fd, asked.wall_seconds)
        try:
            if known is not None:  # reopened, it stays what it was made as
                layers = replace(base.handle, overlay=known.base.handle.overlay)
                wanted = replace(wanted, base=replace(base, handle=layers))
            sandbox = await self._stand(opened, folder, wanted, holding)
        except BaseException:
            holding.release()
            raise
        sandbox.base, sandbox.reopened = base, known is not None
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
        opened = await self._open()
        return await asyncio.to_thread(
            claim.listed, opened.namespace.parent, namespace, labels or {}
        )

    async def snapshot(self, sandbox: Sandbox) -> Base:
        if not isinstance(sandbox, self.kind) or sandbox.base is None:
            raise SandboxError(f"sandbox {sandbox.id} is not of the provider `{self.name}`")
        await sandbox.freeze()
        folder, layers = sandbox.folder, sandbox.layers
        facts = folder / "facts"
        facts.mkdir(exist_ok=True)
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        below = layers.trees if sandbox.overlay else ()
        stacked = replace(layers, trees=(*below, folder / "upper"))
        return Base(f"{sandbox.base.id}+{name}", sandbox.base.commit, facts, stacked)

    async def reap(self, namespace: str | None = None) -> int:
        opened = await self._open()
        wanted = None if namespace is None else folders.file_name(namespace)
        if wanted is None:
            await asyncio.to_thread(bases.sweep, opened.cache)
        return await asyncio.to_thread(claim.reap, opened.namespace, wanted)

    async def close(self, *, remove: bool = False) -> None:
        """Kill what runs. `remove` also removes this namespace's workspaces; otherwise they
        wait for a later run of the same name."""
        for sandbox in self._sandboxes.values():
            sandbox.release()
        self._sandboxes.clear()
        opened, self._opened = self._opened, None
        await self._shut(opened)
        if opened is not None:
            await asyncio.to_thread(claim.leave, opened.namespace, opened.lock_fd, remove=remove)

    async def _shut(self, opened: OpenedT | None) -> None:
        """End what runs besides the sandboxes' commands."""

    async def _open(self) -> OpenedT:
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await self._open_now()
        return self._opened
