"""What every sandbox over a folder of this machine is, whatever its commands run in."""

from pathlib import Path
from typing import BinaryIO

from harness.ports import Base, Sandbox
from harness.sandboxes import folders, transfer
from harness.sandboxes.bases import Layers
from harness.sandboxes.holding import Holding


class FolderSandbox(Sandbox):
    """A workspace in a host folder: files by commands inside, and an end that stays. Who derives
    from it runs the commands. See `harness.ports.Sandbox`.

    `overlay`: the folder has what was changed of `layers`; otherwise a copy of them.
    """

    overlay = False

    def __init__(
        self, key: str, folder: Path, layers: Layers, holding: Holding | None = None
    ) -> None:
        self.id = key
        self.folder = folder
        self.layers = layers
        self.base: Base | None = None
        self.reopened = False
        self._holding = holding or Holding(key)

    async def upload(self, path: str, data: bytes | BinaryIO) -> None:
        await transfer.upload(self, path, data)

    async def download(self, path: str, *, limit: int = 64_000_000) -> bytes:
        return await transfer.download(self, path, limit)

    async def download_to(self, path: str, file: BinaryIO, *, limit: int = 1 << 40) -> int:
        return await transfer.download_to(self, path, file, limit)

    async def extend(self, seconds: float) -> None:
        self._holding.extend(seconds)

    async def freeze(self) -> None:
        """No command runs from here on, so the files can become a layer."""
        await self._holding.freeze()

    async def destroy(self) -> None:
        await self._holding.destroy(lambda: folders.remove(self.folder))

    @property
    def gone(self) -> bool:
        return self._holding.gone

    def release(self) -> None:
        """Let go of the workspace and leave its files, for a later run to reopen."""
        self._holding.release()
