"""The `local` provider: bubblewrap cages over overlay workspaces, nothing left running between."""

from dataclasses import replace
from pathlib import Path

from harness.ports import Base, BaseSpec, Capabilities, Held, LimitName, Observe
from harness.sandboxes import rlimits
from harness.sandboxes.bases import Layers
from harness.sandboxes.cage import Place
from harness.sandboxes.claim import Record
from harness.sandboxes.folder_provider import FolderProvider
from harness.sandboxes.guard import shared
from harness.sandboxes.holding import Holding
from harness.sandboxes.opening import Opened, open_provider
from harness.sandboxes.workshop import LocalWorkshop
from harness.sandboxes.workspace import LocalSandbox


class LocalSandboxProvider(FolderProvider[LocalSandbox, Opened]):
    """Isolated sandboxes on this machine. See `FolderProvider`.

    `overlay` False makes workspaces copies: slower, but a folder of the base can be renamed by
    one system call, which an overlay refuses (EXDEV).
    """

    name = "local"
    kind = LocalSandbox

    def __init__(
        self,
        namespace: str,
        state: Path | None = None,
        cache: Path | None = None,
        observe: Observe | None = None,
        *,
        overlay: bool = True,
    ) -> None:
        super().__init__(namespace, state, cache)
        self._observe = observe
        self._overlay = overlay
        self.guard = shared()

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
        base = await super().prepare(spec)
        overlay = (await self._open()).overlay and base.handle.overlay
        return replace(base, workspaces="overlay" if overlay else "copy")

    async def _open_now(self) -> Opened:
        return await open_provider(
            self._namespace, self._wanted, self.guard, self._observe, overlay=self._overlay
        )

    def _workshop(self, opened: Opened) -> LocalWorkshop:
        return LocalWorkshop(opened)

    async def _stand(
        self, opened: Opened, folder: Path, wanted: Record, holding: Holding
    ) -> LocalSandbox:
        layers: Layers = wanted.base.handle
        place = Place(layers, folder, opened.root, overlay=opened.overlay and layers.overlay)
        return LocalSandbox(wanted.key, opened.shop, place, wanted.limits, holding)

    async def _shut(self, opened: Opened | None) -> None:
        if opened is not None:
            await opened.shop.slots.close()
            opened.shop.groups.remove()
