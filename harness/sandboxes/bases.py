"""Bases: a commit checked out, its setup run once, kept in the cache for every later run."""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.ports import Base, BaseSpec, ExecResult
from harness.sandboxes import checkout
from harness.sandboxes.folders import complete_or_nothing, remove_tree
from harness.sandboxes.toolbox import writable_copy
from orchestrator.errors import SandboxError
from orchestrator.manifests import is_manifest

#: Changes whenever what a base consists of does.
_FORMAT = 4
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


class Workshop(Protocol):
    """What a provider lends to the preparation of its bases: a sandbox with a network."""

    async def run(self, spec: BaseSpec, layers: Layers, folder: Path) -> ExecResult:
        """Run the setup command over `layers`, keeping what it writes in `folder`/upper and
        home, and in `folder`/env but for the toolbox's own files."""
        ...

    async def inspect(self, command: str, layers: Layers, folder: Path) -> bytes:
        """Standard output of `command` in a sandbox without network over the same."""
        ...


async def prepare(spec: BaseSpec, cache: Path, toolbox: Path, workshop: Workshop) -> Base:
    """The base for `spec`, from the cache when it is there.

    Raises `GitError` for an unknown commit, `SandboxError` when setup fails.
    """
    git_dir, commit = await asyncio.to_thread(checkout.resolve, spec.repo, spec.commit)
    key = _digest(_FORMAT, commit, spec.setup, sorted(spec.env.items()), toolbox.name)
    final = cache / "bases" / key
    known = await asyncio.to_thread(_load, final, key, commit, spec, toolbox)
    if known is not None:
        return known
    async with _lock(cache / "locks" / f"base-{key}"):
        known = await asyncio.to_thread(_load, final, key, commit, spec, toolbox)
        if known is not None:
            return known
        await asyncio.to_thread(remove_tree, final)  # its setup layer is gone
        with complete_or_nothing(final) as making:
            await asyncio.to_thread(checkout.check_out, git_dir, commit, making / "tree")
            await _complete(making, spec, cache, _Tools(toolbox, workshop))
    made = await asyncio.to_thread(_load, final, key, commit, spec, toolbox)
    if made is None:
        raise SandboxError(f"the base {final} disappeared while it was prepared; try again")
    return replace(made, fresh=True)


@dataclass(frozen=True, slots=True)
class _Tools:
    toolbox: Path
    workshop: Workshop


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
    facts = {"layer": layer.name if layer else None}
    (making / "base.json").write_text(json.dumps(facts), encoding="utf-8")
    making.chmod(0o755)


async def _setup_layer(tree: Path, spec: BaseSpec, cache: Path, tools: _Tools) -> Path:
    """The folder with what `spec.setup` made: upper, env, home and a list of untracked files."""
    assert spec.setup is not None
    manifests = await asyncio.to_thread(digest_of_manifests, tree)
    key = _digest(_FORMAT, spec.setup, sorted(spec.env.items()), manifests, tools.toolbox.name)
    final = cache / "layers" / key
    async with _lock(cache / "locks" / f"layer-{key}"):
        if final.is_dir():
            return final
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
            making.chmod(0o755)
    return final


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
            trees, folder / "base.git", env, variables=dict(spec.env), installed=bool(spec.setup)
        )
    home = layer / "home"
    own = tuple(p for p in (".venv/bin", "node_modules/.bin") if (layer / "upper" / p).is_dir())
    return Layers(
        (layer / "upper", *trees), folder / "base.git", layer / "env",
        home if any(home.iterdir()) else None, dict(spec.env), own, installed=True,
    )  # fmt: skip


def _load(final: Path, key: str, commit: str, spec: BaseSpec, toolbox: Path) -> Base | None:
    try:
        facts = json.loads((final / "base.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    layer = final.parent.parent / "layers" / facts["layer"] if facts["layer"] else None
    if layer is not None and not layer.is_dir():
        return None
    return Base(key, commit, final / "facts", _layers(final, layer, spec, toolbox))


def digest_of_manifests(tree: Path) -> str:
    """A digest of every manifest in the tree: what a setup command is assumed to depend on.
    Their content, not the commit, names its layer, so that the next commit reuses it."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(tree):
        names[:] = sorted(n for n in names if n != ".git")
        for name in sorted(files):
            path = Path(folder) / name
            if is_manifest(name) and path.is_file() and not path.is_symlink():
                digest.update(f"{path.relative_to(tree)}\0".encode(errors="surrogateescape"))
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


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
