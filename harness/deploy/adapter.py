"""The port of deployment: bring a release up beside what is live, make it live, go back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Release:
    """What is deployed: one commit of one repository. `digest` is that of its files."""

    repo: Path
    commit: str
    digest: str
    setup: str | None = None


class Adapter(Protocol):
    """One environment. Every method may be called again after a crash: it looks at what there is
    and does only what is missing. All raise `DeployError`."""

    async def live(self) -> str:
        """The commit that is live; empty when none is, or none that is known."""
        ...

    async def bring_up(self, release: Release) -> str:
        """Start it without touching what is live, where that can be; the address to test."""
        ...

    async def switch(self, release: Release) -> str:
        """Make it live; the address where it is."""
        ...

    async def roll_back(self, release: Release) -> str:
        """Make live what was live before it; that commit, empty for none."""
        ...
