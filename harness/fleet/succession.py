"""Going on with an attempt that another process was taken from: its folder, and its sandbox.

That process may be dead or only frozen, so nothing that it could still write to is used: each
generation has a folder of its own, which begins as a copy of the one before, and a sandbox that a
live process holds is left to it. Where the sandbox cannot be had, the attempt begins anew.
"""

import asyncio
import shutil
from pathlib import Path

from harness.agents.transcript import NAME as TRANSCRIPT
from harness.fleet.fenced import FencedSandbox
from harness.ports import Base, Sandbox, SandboxLimits
from harness.record import taken
from harness.record.journal import Journal
from harness.sandboxes import folders
from harness.services import Services
from orchestrator import events
from orchestrator.errors import (
    MachineError,
    SandboxError,
    SandboxOutdatedError,
    TakenOverError,
)
from orchestrator.values import AttemptKey

#: Copied first: what is newer in the other files was made from it, and is made again.
_FIRST = TRANSCRIPT
#: Of conversations whose workspace was lost.
_LOST = "transcript.lost-{}.jsonl"


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


async def begin_anew(journal: Journal, key: AttemptKey, folder: Path) -> None:
    """Its workspace is gone, with what was done there: begin as if nothing had been said. What was
    said is kept, in the folder of the one before or beside the new transcript."""
    text = f"{key}: its workspace is gone, or is of another base; it begins anew"
    journal.write(events.WarningGiven(message=text))
    if taken.generation() < 2:
        path = folder / _FIRST
        path.rename(path.with_name(_LOST.format(_lost(folder) + 1)))
        return
    await asyncio.to_thread(shutil.rmtree, folder)
    folder.mkdir()


def times(folder: Path) -> int:
    """How often the attempt was begun, from 1, so that its calls each have a name of their own."""
    return taken.generation() or 1 + _lost(folder)


async def still_ours(services: Services) -> None:
    """Raises `TakenOverError` when others do the work by now: whatever a process meets that was
    frozen meanwhile says nothing about its machine, and ends nobody's run."""
    try:
        await asyncio.to_thread(services.journal.require)
    except TakenOverError:
        raise
    except MachineError:  # nobody can tell: the error that was met counts
        return


def _lost(folder: Path) -> int:
    return len(list(folder.glob(_LOST.format("*"))))


async def sandbox(
    services: Services, base: Base, key: AttemptKey, limits: SandboxLimits | None
) -> Sandbox:
    """The attempt's sandbox, reopened where that can be. Raises `SandboxError`."""
    name = f"{key.feature}.{key.name}"
    labels = {"run": services.settings.run, "attempt": str(key)}
    try:
        made = await services.provider.create(base, name, labels=labels, limits=limits)
    except SandboxError as error:
        generation = taken.generation()
        if generation < 2 and not isinstance(error, SandboxOutdatedError):
            raise
        # A frozen process holds it; or this program, or the machine's tools, were replaced since.
        name = f"{name}.g{generation}" if generation >= 2 else f"{name}.anew"
        made = await services.provider.create(base, name, labels=labels, limits=limits)
    under = taken.current.get()
    if services.fleet is None or under is None:
        return made
    return FencedSandbox(made, services.fleet.database, under.session)
