"""Bases: a commit checked out, its setup run once, kept in the cache for every later run."""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.ports import Base, BaseSpec, ExecResult
from harness.sandboxes import checkout
from harness.sandboxes.folders import (
    KEPT_SECONDS,
    complete_or_nothing,
    locked,
    remove,
    remove_tree,
)
from harness.sandboxes.seal import seal
from harness.sandboxes.setup_inputs import digest_of_setup
from harness.sandboxes.toolbox import writable_copy
from orchestrator.errors import SandboxError

#: Changes whenever what a base consists of does.
_FORMAT = 5
#: Left in the folder of a layer whose setup an overlay refused something.
COPIES = "copies"
#: Longer than a stopped run waits to be resumed.
_KEPT_SECONDS = 2 * KEPT_SECONDS
_REFRESH = "/usr/bin/git update-index -q --refresh >&2; cat .git/index"
_LEFT_OVER = "/usr/bin/git ls-files -z --others --exclude-standard --directory --no-empty-directory"


@dataclass(frozen=True, slots=True)
class Layers:
    """Host folders a workspace is stacked from: `trees` bottom first, read-only all.

    `git` is the pristine git directory, `env` the Python environment, `home` a prepared HOME.
    """

    trees: tuple[Path, ...]
    git: Path
    env: Path
    home: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()  # folders before all others on PATH, relative to the workdir
    installed: bool = False  # a setup command ran, so packages are found without PYTHONPATH
    overlay: bool = True  # False: something renames folders, which only a copy allows


class Workshop(Protocol):
    """What a provider lends to the preparation of its bases: a sandbox with a network."""

    async def run(self, spec: BaseSpec, layers: Layers, folder: Path) -> ExecResult:
        """Run the setup command over `layers`, keeping what it writes in `folder`/upper and
        home, and in `folder`/env but for the toolbox's own files. Where it needed a copy,
        it leaves a file `COPIES` there."""
        ...

    async def inspect(self, command: str, layers: Layers, folder: Path) -> bytes:
        """Standard output of `command` in a sandbox without network over the same."""
        ...


def used(layers: Layers) -> None:
    """Note that what these are of is in use, or it is removed one day (`sweep`)."""
    for tree in layers.trees:
        with contextlib.suppress(OSError):
            os.utime(tree.parent)


def sweep(cache: Path) -> int:
    """Remove bases and setups that nobody has used for long; how many. Blocks.

    A commit has a base of its own, so there would be more and more. One that is wanted again
    is prepared again.
    """
    removed = 0
    for kind, name in (("bases", "base"), ("layers", "layer")):
        for folder in (cache / kind).glob("*"):  # half-made ones too
            if _is_old(folder):
                with locked(cache / "locks" / f"{name}-{folder.name}"):
                    if _is_old(folder):
                        remove(folder)
                        removed += 1
    return removed


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _KEPT_SECONDS
    except FileNotFoundError:  # another sweeps at the same time
        return False


async def prepare(
    spec: BaseSpec, cache: Path, toolbox: Path, workshop: Workshop, intact: set[Path]
) -> Base:
    """The base for `spec`, from the cache when it is there as it was made, else made anew.

    `intact`: folders of the cache that this process has looked at already, and adds to.
    Raises `GitError` for an unknown commit, `SandboxError` when setup fails.
    """
    tools = _Tools(toolbox, workshop, intact)
    git_dir, commit = await asyncio.to_thread(checkout.resolve, spec.repo, spec.commit)
    key = _digest(_FORMAT, commit, spec.setup, sorted(spec.env.items()), toolbox.name)
    final = cache / "bases" / key
    known = await asyncio.to_thread(_load, final, commit, spec, tools)
    if known is not None:
        return known
    async with _lock(cache / "locks" / f"base-{key}"):
        known = await asyncio.to_thread(_load, final, commit, spec, tools)
        if known is not None:
            return known
        await asyncio.to_thread(remove, final)  # changed, or its setup layer is gone
        with complete_or_nothing(final) as making:
            await asyncio.to_thread(checkout.check_out, git_dir, commit, making / "tree")
            await _complete(making, spec, cache, tools)
    made = await asyncio.to_thread(_load, final, commit, spec, tools)
    if made is None:
        raise SandboxError(f"the base {final} disappeared while it was prepared; try again")
    return replace(made, fresh=True)


@dataclass(frozen=True, slots=True)
class _Tools:
    toolbox: Path
    workshop: Workshop
    intact: set[Path]


async def _complete(making: Path, spec: BaseSpec, cache: Path, tools: _Tools) -> None:
    tree, layer = making / "tree", None
    if spec.setup:
        layer = await _setup_layer(tree, spec, cache, tools)
        left_over = (layer / "exclude").read_bytes().split(b"\0")
        names = tuple(os.fsdecode(name) for name in left_over if name)
        await asyncio.to_thread(checkout.exclude, tree / ".git", names)
    (making / "facts").mkdir()
    scratch = making / "scratch"
    layers = _layers(making, layer, spec, tools.toolbox)
    # The index records owner and inode as seen inside; refreshed there, or the first
    # `git status` of every sandbox would read every file again.
    index = await tools.workshop.inspect(_REFRESH, replace(layers, git=tree / ".git"), scratch)
    (tree / ".git" / "index").write_bytes(index)
    await asyncio.to_thread(remove_tree, scratch)
    await asyncio.to_thread(shutil.copytree, tree / ".git", making / "base.git", symlinks=True)
    made = await asyncio.to_thread(_seal_of_base, making)
    facts = {"layer": layer.name if layer else None, "seal": made}
    (making / "base.json").write_text(json.dumps(facts), encoding="utf-8")
    making.chmod(0o755)


async def _setup_layer(tree: Path, spec: BaseSpec, cache: Path, tools: _Tools) -> Path:
    """The folder with what `spec.setup` made: upper, env, home and a list of untracked files."""
    assert spec.setup is not None
    inputs = await asyncio.to_thread(digest_of_setup, tree, spec.setup)
    key = _digest(_FORMAT, spec.setup, sorted(spec.env.items()), inputs, tools.toolbox.name)
    final = cache / "layers" / key
    async with _lock(cache / "locks" / f"layer-{key}"):
        if await asyncio.to_thread(_is_intact, final, tools.intact):
            return final
        await asyncio.to_thread(remove, final)
        with complete_or_nothing(final) as making:
            await asyncio.to_thread(writable_copy, tools.toolbox, making / "env")
            layers = _layers(tree.parent, None, spec, making / "env")
            layers = replace(layers, git=tree / ".git")
            result = await tools.workshop.run(spec, layers, making)
            if not result.ok:
                raise SandboxError(_failure(spec, result))
            names = await tools.workshop.inspect(_LEFT_OVER, layers, making)
            (making / "exclude").write_bytes(names)
            for left in (making / "upper" / ".git", making / "work", making / "tmp"):
                await asyncio.to_thread(remove_tree, left)
            await asyncio.to_thread(_leave_to, tree, making / "upper")
            (making / "seal").write_text(await asyncio.to_thread(_seal_of_layer, making))
            making.chmod(0o755)
    return final


def _leave_to(tree: Path, upper: Path) -> None:
    """Remove from a layer what the tree over it hides, all of a copy for example: the next
    commit has the same layer, and may have removed it."""
    for folder, _, names in os.walk(upper):
        there = tree / Path(folder).relative_to(upper)
        for name in names if there.is_dir() else ():
            if os.path.lexists(there / name):
                (Path(folder) / name).unlink()


def _failure(spec: BaseSpec, result: ExecResult) -> str:
    how = f"took longer than {spec.setup_timeout:.0f} s" if result.timed_out else (
        f"ended with exit status {result.exit}"
    )  # fmt: skip
    tail = (result.out + b"\n" + result.err).decode("utf-8", "replace").strip()[-2000:]
    return f"setup `{spec.setup}` {how}; correct project.setup or the network. It said:\n{tail}"


def _layers(folder: Path, layer: Path | None, spec: BaseSpec, env: Path) -> Layers:
    trees = (folder / "tree",)
    if layer is None:
        return Layers(
            trees, folder / "base.git", env, variables=dict(spec.env),
            installed=bool(spec.setup), overlay=spec.workspaces != "copy",
        )  # fmt: skip
    home = layer / "home"
    own = tuple(p for p in (".venv/bin", "node_modules/.bin") if (layer / "upper" / p).is_dir())
    return Layers(
        (layer / "upper", *trees), folder / "base.git", layer / "env",
        home if any(home.iterdir()) else None, dict(spec.env), own, installed=True,
        overlay=spec.workspaces == "overlay"
        or (spec.workspaces == "auto" and not (layer / COPIES).exists()),
    )  # fmt: skip


def _load(final: Path, commit: str, spec: BaseSpec, tools: _Tools) -> Base | None:
    """None when it is not there, or not as it was made: it would then be another base."""
    try:
        facts = json.loads((final / "base.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    layer = final.parent.parent / "layers" / facts["layer"] if facts["layer"] else None
    if layer is not None and not _is_intact(layer, tools.intact):
        return None
    if final not in tools.intact:
        if facts.get("seal") != _seal_of_base(final):
            return None
        tools.intact.add(final)
    layers = _layers(final, layer, spec, tools.toolbox)
    used(layers)
    return Base(final.name, commit, final / "facts", layers)


def _is_intact(layer: Path, known: set[Path]) -> bool:
    if layer in known:
        return True
    try:
        sealed = (layer / "seal").read_text(encoding="ascii")
    except OSError:
        return False
    if sealed == _seal_of_layer(layer):
        known.add(layer)
    return layer in known


def _seal_of_base(folder: Path) -> str:
    return seal((folder / "tree", folder / "base.git"))


def _seal_of_layer(folder: Path) -> str:
    return seal(folder / name for name in ("upper", "home", "env"))


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


@contextlib.asynccontextmanager
async def _lock(path: Path) -> AsyncIterator[None]:
    """Hold the lock file at `path` across awaits: other processes prepare the same bases."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Polled: a thread blocked in flock could not be cancelled and would keep the loop open.
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.05)
        yield
    finally:
        os.close(fd)
