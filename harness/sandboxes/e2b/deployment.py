"""Whose things in an E2B account are ours: the deployment's name, and what snapshots' names say."""

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from harness.record import files
from harness.sandboxes import folders
from harness.sandboxes.e2b.preparing import digest

#: What the labels of this program begin with.
OURS = "fibreflow"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a passing snapshot's name says: the short name of its namespace, and when it was made,
    in seconds since the epoch."""

    whose: str
    made_at: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """One state folder's share of an account, or that of many machines which the settings give
    one name: others' sandboxes, though of the same account, are never touched.

    `bases` is the folder for what is known here of the bases.
    """

    bases: Path
    name: str

    @property
    def labels(self) -> dict[str, str]:
        return {f"{OURS}_deployment": self.name}

    def snapshot_name(self, namespace: str) -> str:
        """A new one, of a passing snapshot."""
        made_at = f"{int(time.time()):x}"
        return f"{OURS}-{self.name}-{short(namespace)}-{made_at}-{secrets.token_hex(6)}"

    def snapshot(self, name: str) -> Snapshot | None:
        """What `name` says; None where it is not a passing snapshot's of this deployment."""
        found = re.fullmatch(rf"{OURS}-{self.name}-([0-9a-f]+)-([0-9a-f]+)-[0-9a-f]+", name)
        return Snapshot(found[1], float(int(found[2], 16))) if found else None


def short(namespace: str) -> str:
    """How a snapshot's name calls its namespace."""
    return digest(namespace)[:8]


def is_old(made_at: float) -> bool:
    """Of something made then, in seconds since the epoch: whether nobody comes back for it."""
    return time.time() - made_at > folders.KEPT_SECONDS


def find(wanted: tuple[Path | None, Path | None], name: str) -> Deployment:
    """The deployment called `name`, or that of the state folder; `wanted`: the folders for state
    and cache where they are given. Blocks."""
    state, wanted_cache = wanted
    cache = folders.cache_folder(wanted_cache)
    if name:
        return Deployment(cache / "e2b", name)
    root = next(p for p in folders.state_candidates(state, cache) if folders.usable(p)) / "e2b"
    root.mkdir(parents=True, exist_ok=True)
    drawn = root / "deployment"
    with folders.locked(root / ".deployment.lock"):
        if not drawn.exists():
            files.replace(drawn, secrets.token_hex(5))
    return Deployment(cache / "e2b", drawn.read_text(encoding="utf-8"))
