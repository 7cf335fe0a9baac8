"""The providers `docker` and `podman`: containers by the engine's command line, for who has one."""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from harness.ports import BaseSpec, Capabilities, ExecResult, SandboxLimits
from harness.sandboxes import claim, containers, folders
from harness.sandboxes.bases import Layers
from harness.sandboxes.claim import Record
from harness.sandboxes.container_box import LABEL, ContainerSandbox
from harness.sandboxes.containers import ENV, Engine
from harness.sandboxes.folder_provider import FolderProvider
from harness.sandboxes.holding import Holding
from harness.sandboxes.opening import claim_namespace
from harness.sandboxes.toolbox import put_back, versions
from orchestrator.errors import SandboxError, SandboxUnavailableError

_SETUP_LIMITS = SandboxLimits(
    memory_mb=8192, processes=4096, open_files=16384, file_mb=16384, disk_mb=32768,
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


class ContainerSandboxProvider(FolderProvider[ContainerSandbox, _Opened]):
    """See `FolderProvider`. `name` is that of the engine."""

    kind = ContainerSandbox
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
        super().__init__(namespace, state, cache)
        self.name = name
        self._path = path

    async def reap(self, namespace: str | None = None) -> int:
        opened = await self._open()
        await asyncio.to_thread(_kill_left, opened.engine, opened.namespace.parent)
        return await super().reap(namespace)

    async def _open_now(self) -> _Opened:
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
        if "cpus" not in engine.holds:
            self.capabilities = replace(
                _CAPABILITIES, limits={**_CAPABILITIES.limits, "cpus": "none"}
            )
        return _Opened(engine, cache, namespace, tools, lock_fd)

    def _workshop(self, opened: _Opened) -> "_Workshop":
        return _Workshop(opened.engine, opened.toolbox)

    async def _stand(
        self, opened: _Opened, folder: Path, wanted: Record, holding: Holding
    ) -> ContainerSandbox:
        layers = wanted.base.handle
        await asyncio.to_thread(claim.furnish, folder, layers)
        return ContainerSandbox(wanted.key, opened.engine, folder, layers, wanted.limits, holding)


def _kill_left(engine: Engine, root: Path) -> None:
    """Kill containers over workspaces below `root` that no live process holds. Blocks."""
    for id_, workspace in containers.left(engine, LABEL).items():
        folder = Path(workspace)
        if folder.is_relative_to(root) and not claim.is_held(folder):
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
        await asyncio.to_thread(claim.furnish, folder, layers)
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
