"""Artifacts in memory."""

from harness.artifacts.naming import checked, name_of, place_of


class MemoryStore:
    """An `ArtifactStore`; `kept` by the place of each."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        name = name_of(data)
        self.kept.setdefault(place_of(name), data)
        return name

    async def get(self, name: str) -> bytes:
        try:
            return checked(name, self.kept[place_of(name)], "memory")
        except KeyError:
            raise FileNotFoundError(f"memory has no artifact {name}") from None

    async def has(self, name: str) -> bool:
        return place_of(name) in self.kept
