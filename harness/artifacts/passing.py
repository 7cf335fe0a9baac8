"""Passes what came of an attempt from the worker that ran it to whoever chooses among attempts."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.agents.transcript import NAME as TRANSCRIPT
from harness.artifacts.naming import name_of
from harness.attempt_result import PATCH, RESULT
from harness.ports import ArtifactStore
from harness.record import files
from harness.verify.bench import LOG
from harness.verify.record import EVIDENCE
from orchestrator.errors import MachineError

#: Those that a choice, a merge, a replay or a person needs. Nothing else is taken from anywhere.
PASSED = (PATCH, EVIDENCE, TRANSCRIPT, LOG, RESULT)


async def told(store: ArtifactStore | None, folder: Path) -> dict[str, Any]:
    """What the outcome of an attempt says besides: which artifacts its files are."""
    return {} if store is None else {"files": await publish(store, folder)}


async def brought(store: ArtifactStore | None, folder: Path, outcome: Mapping[str, Any]) -> None:
    """The files of an attempt that has ended are in `folder`, wherever it ran. What the outcome
    names is what counts, whoever has written there since.

    Raises `MachineError` when the store cannot be used, or lacks what was put there.
    """
    published = outcome.get("value", {}).get("files")
    if store is None or not published:
        return
    try:
        await collect(store, folder, published)
    except FileNotFoundError as error:
        raise MachineError(f"{folder}: {error}, which an attempt had left there") from error


async def publish(store: ArtifactStore, folder: Path) -> dict[str, str]:
    """Put the attempt's files into the store; their artifacts' names by their own."""
    found = {}
    for name in PASSED:
        path = folder / name
        if await asyncio.to_thread(path.is_file):
            found[name] = await store.put(await asyncio.to_thread(path.read_bytes))
    return found


async def collect(store: ArtifactStore, folder: Path, published: Mapping[str, str]) -> None:
    """Bring the files that are not in `folder` as they were published. `attempt.json` comes last:
    it says that the others are there."""
    for name in PASSED:
        artifact = published.get(name)
        if artifact is not None and not await asyncio.to_thread(_is, folder / name, artifact):
            data = await store.get(artifact)
            await asyncio.to_thread(files.replace, folder / name, data, sync=False)


def _is(path: Path, artifact: str) -> bool:
    try:
        return name_of(path.read_bytes()) == artifact
    except FileNotFoundError:
        return False
