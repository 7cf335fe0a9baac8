"""The providers `docker` and `podman`: containers by the engine's command line, for who has one."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.ports import (
    Base,
    BaseSpec,
    Capabilities,
    ExecResult,
    Sandbox,
    SandboxInfo,
    SandboxLimits,
)
from harness.sandboxes import asking, bases, claim, containers, folders
from harness.sandboxes.bases import Layers
from harness.sandboxes.claim import Record
from harness.sandboxes.container_box import LABEL, ContainerSandbox
from harness.sandboxes.containers import ENV, Engine
from harness.sandboxes.holding import Holding
from harness.sandboxes.opening import claim_namespace
from harness.sandboxes.toolbox import put_back, versions
from orchestrator.errors import SandboxError, SandboxGoneError, SandboxUnavailableError

_SETUP_LIMITS = SandboxLimits(
    memory_mb=8192, processes=4096, open_files=65536, file_mb=16384, disk_mb=32768,
    inodes=5_000_000,
)  # fmt: skip
_CAPABILITIES = Capabilities(
    "full",
    True,
    {
        "memory_mb": "enforced", "processes": "enforced", "open_files": "enforced",
        "file_mb": "enforced", "disk_mb": "watched", "inodes": "watched", "cpus": "enforced",
        "cpu_seconds": "watched", "wall_seconds": "enforced",
    },
    ("workspaces are copies, which costs time and disk; hosts cannot be allowed one by one",),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Opened:
    engine: Engine
    cache: Path
    namespace: Path
    toolbox: Path
    lock_fd: int


class ContainerSandboxProvider:
    """See `harness.ports.SandboxProvider`. `name` is that of the engine."""

    capabilities = _CAPABILITIES

    def __init__(
        self,
        name: str,
        namespace: str,
        state: Path | None = None,
        cache: Path | None = None,
        *,
        path: str | None = None,
    ) -> None:
        self.name = name
        self._namespace = folders.file_name(namespace)
        self._wanted = (state, cache)
        self._path = path
        self._intact: set[Path] = set()
        self._opening = asyncio.Lock()
        self._opened: _Opened | None = None
        self._sandboxes: dict[str, ContainerSandbox] = {}

    async def prepare(self, spec: BaseSpec) -> Base:
        opened = await self._open()
        workshop = _Workshop(opened.engine, opened.toolbox)
        base = await bases.prepare(spec, opened.cache, opened.toolbox, workshop, self._intact)
        return replace(base, workspaces="copy")

    async def create(
        self,
        base: Base,
        key: str,
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> ContainerSandbox:
        asked = asking.checked(self.name, self.capabilities, limits)
        opened = await self._open()
        folder = opened.namespace / folders.file_name(key)
        lock_fd, reopened = claim.claim(folder, Record(key, base, asked, labels or {}))
        claim.make_folders(folder)
        await asyncio.to_thread(claim.copy_layers, base.handle, folder)
        holding = Holding(key, lock_fd, asked.wall_seconds)
        sandbox = ContainerSandbox(key, opened.engine, folder, base.handle, asked, holding)
        sandbox.base, sandbox.reopened = base, reopened
        self._sandboxes[key] = sandbox
        return sandbox

    async def fork(
        self,
        base: Base,
        keys: Sequence[str],
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> tuple[Sandbox, ...]:
        return await asking.fork(self, base, keys, labels, limits)

    async def connect(self, id: str) -> Sandbox:  # noqa: A002 - the port's word for it
        opened = await self._open()
        open_here = self._sandboxes.get(id)
        if open_here is not None and not open_here.gone:
            return open_here
        known = claim.record(opened.namespace / folders.file_name(id))
        if known is None:
            raise SandboxGoneError(f"no sandbox {id} in {opened.namespace}")
        return await self.create(known.base, id, labels=known.labels, limits=known.limits)

    async def list(
        self, labels: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> tuple[SandboxInfo, ...]:
        opened = await self._open()
        return await asyncio.to_thread(
            claim.listed, opened.namespace.parent, namespace, labels or {}
        )

    async def snapshot(self, sandbox: Sandbox) -> Base:
        if not isinstance(sandbox, ContainerSandbox) or sandbox.base is None:
            raise SandboxError(f"sandbox {sandbox.id} is not of the provider `{self.name}`")
        await sandbox.freeze()
        facts = sandbox.folder / "facts"
        facts.mkdir(exist_ok=True)
        name = hashlib.sha256(str(sandbox.folder).encode()).hexdigest()[:12]
        layers = replace(sandbox.layers, trees=(sandbox.folder / "upper",))
        return Base(f"{sandbox.base.id}+{name}", sandbox.base.commit, facts, layers)

    async def reap(self, namespace: str | None = None) -> int:
        opened = await self._open()
        await asyncio.to_thread(_kill_left, opened.engine, opened.namespace.parent)
        wanted = None if namespace is None else folders.file_name(namespace)
        return await asyncio.to_thread(claim.reap, opened.namespace, wanted)

    async def close(self, *, remove: bool = False) -> None:
        """`remove` also removes this namespace's workspaces."""
        for sandbox in self._sandboxes.values():
            sandbox.release()
        self._sandboxes.clear()
        opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.to_thread(claim.leave, opened.namespace, opened.lock_fd, remove=remove)

    async def _open(self) -> _Opened:
        async with self._opening:
            if self._opened is None:
                state, wanted_cache = self._wanted
                engine = await asyncio.to_thread(containers.find, self.name, self._path)
                cache = folders.cache_folder(wanted_cache)
                usable = (p for p in folders.state_candidates(state, cache) if folders.usable(p))
                # Apart from those of other providers: they are not interchangeable.
                root = next(usable).resolve() / self.name
                await asyncio.to_thread(_kill_left, engine, root)
                tools = await toolbox(engine, cache)
                namespace = root / self._namespace
                lock_fd = await asyncio.to_thread(claim_namespace, namespace)
                self._opened = _Opened(engine, cache, namespace, tools, lock_fd)
            return self._opened


def _kill_left(engine: Engine, root: Path) -> None:
    """Kill containers over workspaces below `root` that no live process holds. Blocks."""
    for id_, workspace in containers.left(engine, LABEL).items():
        folder = Path(workspace)
        if folder.is_relative_to(root) and not folders.is_locked(folder):
            containers.kill(engine, id_)


class _Workshop:
    """See `harness.sandboxes.bases.Workshop`."""

    def __init__(self, engine: Engine, toolbox: Path) -> None:
        self._engine = engine
        self._toolbox = toolbox

    async def run(self, spec: BaseSpec, layers: Layers, folder: Path) -> ExecResult:
        if spec.allow not in {(), ("*",)}:
            raise SandboxUnavailableError(
                "containers have the whole network for setup or none; hosts cannot be named"
            )
        sandbox = await self._sandbox(layers, folder)
        sandbox.network, sandbox.writable_env = bool(spec.allow), True
        result = await sandbox.exec(spec.setup or "", timeout=spec.setup_timeout)
        if result.ok:
            await asyncio.to_thread(put_back, self._toolbox, folder / "env")
        return result

    async def inspect(self, command: str, layers: Layers, folder: Path) -> bytes:
        sandbox = await self._sandbox(layers, folder)
        result = await sandbox.exec(command, limit=256_000_000)
        if not result.ok or result.truncated:
            raise SandboxError(f"`{command}` failed while a base was prepared: {result.err!r}")
        return result.out

    async def _sandbox(self, layers: Layers, folder: Path) -> ContainerSandbox:
        claim.make_folders(folder)
        await asyncio.to_thread(claim.copy_layers, layers, folder)
        return ContainerSandbox("setup", self._engine, folder, layers, _SETUP_LIMITS)


async def toolbox(engine: Engine, cache: Path) -> Path:
    """The Python environment of every sandbox, made in the image itself once and kept."""
    wanted = [f"{name}=={version}" for name, version in sorted(versions().items())]
    key = hashlib.sha256(repr((engine.image, wanted)).encode()).hexdigest()[:20]
    final = cache / "toolbox" / f"image-{key}"
    if final.is_dir():
        return final
    script = 'python3 -m venv "$0" && exec "$0/bin/pip" install --quiet --no-input "$@"'
    with folders.complete_or_nothing(final) as making:
        work = making / "work"
        claim.make_folders(work)
        layers = Layers((), making, making, installed=True)
        sandbox = ContainerSandbox("toolbox", engine, work, layers, _SETUP_LIMITS)
        sandbox.network = sandbox.writable_env = True
        result = await sandbox.exec(["/bin/sh", "-c", script, ENV, *wanted], timeout=900)
        if not result.ok:
            said = (result.out + result.err).decode("utf-8", "replace").strip()[-500:]
            raise SandboxUnavailableError(
                f"the image {engine.image} cannot have {', '.join(wanted)}: {said}"
            )
        await asyncio.to_thread(folders.remove_tree, work)
    return final
