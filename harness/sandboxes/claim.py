"""Holding a workspace folder: made or reopened, locked, bound to the base it was made from."""

import os
import subprocess
from pathlib import Path

from harness.ports import Base
from harness.record import files
from harness.sandboxes import folders
from harness.sandboxes.bases import Layers
from orchestrator.errors import SandboxError


def claim(folder: Path, base: Base, key: str) -> int:
    """Make or reopen a workspace and hold its lock; the descriptor that does. What is inside
    is made by `make_folders` when it is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    lock_fd = folders.try_lock(folder)
    if lock_fd is None:
        raise SandboxError(f"sandbox {key} is in use; destroy it first, or take another key")
    made_on = folder / "base"
    known = made_on.read_text(encoding="utf-8") if made_on.exists() else None
    if known not in (None, base.id):
        os.close(lock_fd)
        raise SandboxError(
            f"sandbox {key} exists from another base; destroy it first, or take another key"
        )
    if known is None:
        # Whole or not at all: an empty file would make a reopened workspace another base's.
        files.replace(made_on, base.id, sync=False)
    return lock_fd


def exists(folder: Path) -> bool:
    """Whether `claim` would reopen a workspace that was made before."""
    return (folder / "base").exists()


def copy_layers(layers: Layers, folder: Path) -> None:
    """Fill a workspace that cannot be an overlay; a half-made one is made again."""
    done = folder / "copied"
    if done.exists():
        return
    for tree in layers.trees:
        _copy_over(tree, folder / "upper")
    if layers.home is not None:
        _copy_over(layers.home, folder / "home")
    done.touch()


def _copy_over(source: Path, target: Path) -> None:
    # cp copies what an agent may have left (pipes, links over links) and shares blocks where
    # the file system can; shutil does neither.
    command = ["cp", "-a", "--reflink=auto", "--remove-destination", "-T", "--"]
    done = subprocess.run([*command, str(source), str(target)], check=False, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise SandboxError(f"cannot copy {source} to {target}: {said}")


def make_folders(folder: Path) -> None:
    """The host folders of one workspace; those that exist stay as they are."""
    for name in ("upper", "work", "tmp", "home", "home-work"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def reap(namespace: Path) -> int:
    """Remove what dead owners left beside `namespace`; how many workspaces. Blocks."""
    folders.sweep_trash(namespace)
    return folders.sweep_namespaces(namespace.parent, namespace.name)


def leave(namespace: Path, lock_fd: int, *, remove: bool) -> None:
    """Let go of a namespace; an empty one goes, others wait to be reopened. Blocks."""
    if remove or not folders.workspaces(namespace):
        folders.remove(namespace)
    os.close(lock_fd)
