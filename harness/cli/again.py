"""Commands that go over a run once more: verify it again, play it again, say what it was given."""

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import lock, reverify
from harness import replay as playing
from harness.cli.commands import find_run
from harness.cli.flags import Command
from harness.record.clock import SystemClock
from harness.record.workspace import RunInfo, Workspace, new_run_id
from orchestrator.errors import InputError
from orchestrator.reporting.wording import counted
from orchestrator.runs.lock_differences import differences

_REPLAYED = ".replayed"


def verify(command: Command, workspace: Workspace, info: RunInfo) -> int:
    """0 when nothing differs, else 1."""
    found = asyncio.run(reverify.recheck_run(workspace, info, command.words.get("only")))
    if command.json:
        told = {"run": info.id, "attempts": found.attempts, "rounds": found.rounds}
        told |= {"differences": list(found.differences), "notes": list(found.notes)}
        told |= {"folder": str(found.folder)}
        return _json(told, found.differences)
    print(
        f"run {info.id}: {counted(found.attempts, 'attempt')} verified again, "
        f"{counted(found.rounds, 'choice')} made again"
    )
    for note in found.notes:
        print(note)
    return _lines(found.differences, f"what was found now is in {found.folder}")


def replay(command: Command, workspace: Workspace, info: RunInfo) -> int:
    """0 when every feature ended as it did, else 1; how the run shows itself is as for `run`."""
    token = new_run_id(SystemClock().now(), secrets.token_hex(2))
    into = command.words.get("into") or info.folder / _REPLAYED / token
    copy = asyncio.run(playing.prepare(workspace, info, into.resolve()))
    # The object that was asked for is the only thing on standard output.
    aside = contextlib.redirect_stdout(sys.stderr) if command.json else contextlib.nullcontext()
    with aside:
        code = playing.play(copy)
    if not copy.workspace.runs():
        raise InputError(f"nothing was played in {into}: run {info.id} worked on nothing")
    found = playing.compare(info, copy)
    if command.json:
        told = {"run": info.id, "workspace": str(copy.workspace.root), "exit_code": code}
        told |= {"differences": list(found.differences), "notes": list(found.notes)}
        return _json(told, found.differences)
    print(f"run {info.id} was played again in {copy.workspace.root}")
    for note in found.notes:
        print(note)
    return _lines(found.differences)


def show_lock(command: Command, workspace: Workspace, info: RunInfo) -> int:
    """Without --diff 0; with it 0 when both were given the same, else 1."""
    mine = lock.load(info.folder / lock.NAME)
    other = command.words.get("diff")
    if other is None:
        print(json.dumps(mine, indent=2, ensure_ascii=False))
        return 0
    is_file = "/" in other or other.endswith(".json")
    theirs = lock.load(Path(other) if is_file else find_run(workspace, other).folder / lock.NAME)
    found = differences(mine, theirs)
    if command.json:
        return _json({"run": info.id, "other": other, "differences": list(found)}, found)
    return _lines(found)


def _lines(found: Sequence[str], after: str = "") -> int:
    for line in found or ("nothing differs",):
        print(line)
    if found and after:
        print(after)
    return 1 if found else 0


def _json(told: dict[str, Any], found: Sequence[str]) -> int:
    print(json.dumps(told))
    return 1 if found else 0
