"""Artifacts as files in a folder that all machines have mounted."""

import asyncio
from pathlib import Path

from harness.artifacts.naming import checked, name_of, place_of
from harness.record import files
from orchestrator.errors import MachineError


class DirectoryStore:
    """An `ArtifactStore`. Files appear whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, data: bytes) -> str:
        name = name_of(data)
        path = self._folder / place_of(name)
        if not await asyncio.to_thread(path.exists):
            await asyncio.to_thread(files.replace, path, data)
        return name

    async def get(self, name: str) -> bytes:
        path = self._folder / place_of(name)
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self._folder} has no artifact {name}") from None
        except OSError as error:
            raise MachineError(f"{path}: cannot be read ({error.strerror or error})") from error
        return checked(name, data, str(path))

    async def has(self, name: str) -> bool:
        return await asyncio.to_thread((self._folder / place_of(name)).is_file)
