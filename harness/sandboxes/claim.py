"""Holding a workspace folder: made or reopened, locked, and a record of what it was made from."""

import contextlib
import errno
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.ports import Base, SandboxInfo, SandboxLimits
from harness.sandboxes import folders
from harness.sandboxes.bases import Layers
from orchestrator.errors import MachineError, SandboxError, SandboxOutdatedError

#: What it was made from; whoever holds the workspace holds the lock of this file.
_RECORD = "workspace.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What a workspace was made from and for, kept beside its files."""

    key: str
    base: Base  # its handle is `Layers`
    limits: SandboxLimits
    labels: Mapping[str, str] = field(default_factory=dict)
    made_at: float = 0.0
    boot: str = ""  # of the machine, as it names its starts


def claim(folder: Path, wanted: Record) -> tuple[int, Record | None]:
    """Make or reopen a workspace and hold its lock: the descriptor that does, and what it was
    made as where it was there before. What is inside is made by `make_folders` when needed."""
    fresh = _made(folder)
    lock_fd = folders.try_lock(folder, name=_RECORD)
    if lock_fd is None:
        raise SandboxError(f"sandbox {wanted.key} is in use; destroy it first, or take another key")
    known = None if fresh else record(folder)
    if known is None or known.boot != folders.boot():
        # Half a record is nobody's. And an overlay's commands never wait for the disk, so a file
        # here and there may have gone with the machine: whoever was at work begins anew.
        if not fresh:
            _empty(folder)
        _note(folder, lock_fd, wanted)
        return lock_fd, None
    if known.base.id != wanted.base.id:
        os.close(lock_fd)
        raise SandboxOutdatedError(
            f"sandbox {wanted.key} exists from another base; destroy it first, or take another key"
        )
    return lock_fd, known


def _made(folder: Path) -> bool:
    """Whether it was not there before."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except FileNotFoundError:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return _made(folder)
    return True


def _note(folder: Path, lock_fd: int, wanted: Record) -> None:
    """Written where it is locked, and before there is anything in the workspace, so that one
    that a crash cut off stands for nothing."""
    data = json.dumps(_to_json(wanted)).encode()
    try:
        os.ftruncate(lock_fd, 0)
        if os.pwrite(lock_fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        os.close(lock_fd)
        raise MachineError(
            f"{folder / _RECORD}: cannot be written ({error.strerror or error}); "
            "free disk space or fix its permissions, then start again"
        ) from error


def is_held(folder: Path) -> bool:
    """Whether a live process holds the workspace in `folder`."""
    return folders.is_locked(folder, _RECORD)


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            folders.remove_tree(left)
        elif left.name != _RECORD:  # which is held
            left.unlink()


def record(folder: Path) -> Record | None:
    """What `claim` noted of the workspace in `folder`; None where there is none."""
    try:
        return _from_json(json.loads((folder / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _to_json(known: Record) -> dict[str, Any]:
    layers: Layers = known.base.handle
    paths = {
        "trees": [str(tree) for tree in layers.trees],
        "git": str(layers.git),
        "env": str(layers.env),
        "home": None if layers.home is None else str(layers.home),
        "variables": dict(layers.variables),
        "path": layers.path,
        "installed": layers.installed,
        "overlay": layers.overlay,
    }
    base = {"id": known.base.id, "commit": known.base.commit, "folder": str(known.base.folder)}
    return {
        "key": known.key,
        "base": base,
        "layers": paths,
        "limits": asdict(known.limits),
        "labels": dict(known.labels),
        "made_at": time.time(),
        "boot": folders.boot(),
    }


def _from_json(document: Mapping[str, Any]) -> Record:
    layers, base, limits = document["layers"], document["base"], document["limits"]
    stacked = Layers(
        tuple(Path(tree) for tree in layers["trees"]), Path(layers["git"]), Path(layers["env"]),
        None if layers["home"] is None else Path(layers["home"]),
        layers["variables"], tuple(layers["path"]), layers["installed"], layers["overlay"],
    )  # fmt: skip
    return Record(
        document["key"],
        Base(base["id"], base["commit"], Path(base["folder"]), stacked),
        SandboxLimits(**{**limits, "allow": tuple(limits["allow"])}),
        document["labels"],
        document["made_at"],
        document["boot"],
    )


def listed(
    state: Path, namespace: str | None, labels: Mapping[str, str]
) -> tuple[SandboxInfo, ...]:
    """The workspaces below `state` with these labels, of one namespace or of all. Blocks."""
    if not state.is_dir():
        return ()
    wanted = None if namespace is None else folders.file_name(namespace)
    spaces = [p for p in sorted(state.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    return tuple(
        SandboxInfo(known.key, space.name, known.labels, is_held(folder), known.made_at)
        for space in spaces
        if wanted in (None, space.name)
        for folder in sorted(folders.workspaces(space))
        if (known := record(folder)) is not None
        and all(known.labels.get(name) == value for name, value in labels.items())
    )


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


def furnish(folder: Path, layers: Layers) -> None:
    """A workspace that is a copy of its layers, made where it is not there. Blocks."""
    make_folders(folder)
    copy_layers(layers, folder)


def make_folders(folder: Path, *, home_below: bool = True) -> None:
    """The host folders of one workspace; those that exist stay as they are. `home_below`: its
    HOME is an overlay too."""
    for name in ("upper", "work", "tmp", "home", *(["home-work"] if home_below else [])):
        try:
            os.mkdir(f"{folder}/{name}")  # noqa: PTH102 - four system calls less for each
        except FileExistsError:
            continue
        except FileNotFoundError:
            (folder / name).mkdir(parents=True)


def reap(own: Path, namespace: str | None) -> int:
    """Remove what nobody holds; how many workspaces. Blocks.

    `own` is the namespace of the caller, which holds it. Without `namespace`: what dead owners
    left beside it for too long. With one: all of it that is not open, unless it is another's
    that is alive.
    """
    folders.sweep_trash(own)
    if namespace is None:
        return folders.sweep_namespaces(own.parent, own.name)
    if namespace != own.name:
        return folders.sweep_namespace(own.parent / namespace)
    return sum(_remove_unheld(folder) for folder in folders.workspaces(own))


def _remove_unheld(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        lock_fd = folders.try_lock(folder, name=_RECORD)
        if lock_fd is not None:
            folders.remove(folder)
            os.close(lock_fd)
            return True
    return False


def leave(namespace: Path, lock_fd: int, *, remove: bool) -> None:
    """Let go of a namespace; an empty one goes, others wait to be reopened. Blocks."""
    if remove or not folders.workspaces(namespace):
        folders.remove(namespace)
    os.close(lock_fd)
