"""Going on with an attempt that another process was taken from: its folder, and its sandbox.

That process may be dead or only frozen, so nothing that it could still write to is used: each
generation has a folder of its own, which begins as a copy of the one before, and a sandbox that a
live process holds is left to it. Where the sandbox cannot be had, the attempt begins anew.
"""

import asyncio
import shutil
from pathlib import Path

from harness.fleet.fenced import FencedSandbox
from harness.ports import Base, Sandbox, SandboxLimits
from harness.record import taken
from harness.sandboxes import folders
from harness.services import Services
from orchestrator.errors import SandboxError, SandboxGoneError
from orchestrator.values import AttemptKey

#: Copied first: what is newer in the other files was made from it, and is made again.
_FIRST = "transcript.jsonl"


async def succeed(services: Services, key: AttemptKey) -> None:
    """Give this generation the folder of the one before."""
    if taken.generation() > 1:
        await asyncio.to_thread(_copy, services.attempt_folder(key), key.name)


def _copy(folder: Path, name: str) -> None:
    earlier = (folder.with_name(f"{name}.g{n}") for n in range(taken.generation() - 1, 0, -1))
    before = next((path for path in earlier if path.is_dir()), None)
    if before is None or folder.exists():
        return
    with folders.complete_or_nothing(folder) as making:
        if (before / _FIRST).exists():
            shutil.copy2(before / _FIRST, making / _FIRST)
        for path in before.iterdir():
            # Files that are being replaced begin with a dot.
            if path.is_file() and not path.name.startswith((_FIRST, ".")):
                shutil.copy2(path, making / path.name)


async def begin_anew(folder: Path) -> None:
    """Its workspace is gone: forget what was done there. Raises `SandboxGoneError` where there is
    no earlier folder in which that is kept."""
    if taken.generation() < 2:
        raise SandboxGoneError("its workspace was removed while the run was stopped")
    await asyncio.to_thread(shutil.rmtree, folder)
    folder.mkdir()


async def sandbox(
    services: Services, base: Base, key: AttemptKey, limits: SandboxLimits | None
) -> Sandbox:
    """The attempt's sandbox, reopened where that can be. Raises `SandboxError`."""
    name = f"{key.feature}.{key.name}"
    labels = {"run": services.settings.run, "attempt": str(key)}
    try:
        made = await services.provider.create(base, name, labels=labels, limits=limits)
    except SandboxError:
        if taken.generation() < 2:
            raise
        # A frozen process holds it.
        name = f"{name}.g{taken.generation()}"
        made = await services.provider.create(base, name, labels=labels, limits=limits)
    under = taken.current.get()
    if services.fleet is None or under is None:
        return made
    return FencedSandbox(made, services.fleet.database, under.session)
