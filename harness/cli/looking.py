"""Commands that look into a run without touching it: its log, one attempt, a diff, a watch."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import attempt_result, git
from harness.agents.transcript import NAME as TRANSCRIPT
from harness.cli.at_work import is_at_work
from harness.cli.flags import Command
from harness.cli.screen_lines import Speech
from harness.cli.status import render_status
from harness.record.journal import iter_events, read_events
from harness.record.workspace import RunInfo, Workspace
from harness.rounds import key_of
from harness.verify import record as verification_record
from orchestrator.errors import InputError
from orchestrator.reporting.wording import one_line, visible
from orchestrator.runs import state
from orchestrator.runs.state import Fold

_LOOK_SECONDS = 0.5
_WATCH_SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def logs(command: Command, workspace: Workspace, info: RunInfo) -> int:
    """Every event that matters as a line; with --follow until the run is at work no more."""
    speech, fold = Speech(sys.stdout), Fold()
    said = 0
    while True:
        over = not command.words.get("follow") or not is_at_work(workspace, info)
        for number, event in enumerate(iter_events(info.events)):
            if number < said:
                continue
            said = number + 1
            fold.apply(event)
            for line in speech.event(event, fold):
                print(speech.writable(line), flush=True)
        if over:
            return 0
        time.sleep(_LOOK_SECONDS)


def watch(workspace: Workspace, info: RunInfo) -> int:
    """The status again and again, until the run is at work no more."""
    while True:
        alive = is_at_work(workspace, info)
        text = render_status(state.fold(read_events(info.events)), info.id, alive=alive)
        print(f"{_CLEAR if sys.stdout.isatty() else ''}{text}", flush=True)
        if not alive:
            return 0
        time.sleep(_WATCH_SECONDS)


def show_attempt(command: Command, workspace: Workspace, info: RunInfo) -> int:
    """What the attempt did, said, left and proved."""
    folder = _attempt_folder(
        workspace, info, "/".join(filter(None, (command.words["id"], command.words["name"])))
    )
    print("\n".join(_told(folder)))
    return 0


def _attempt_folder(workspace: Workspace, info: RunInfo, id_: str) -> Path:
    feature, _, name = id_.partition("/")
    try:
        folder = workspace.attempt_folder(info.id, key_of(feature, name))
    except ValueError:
        raise InputError(f"{id_!r} is no attempt; they look like api/r1-a02") from None
    if not folder.is_dir():
        # In a fleet an attempt at work has a folder for each who took it.
        folder = max(folder.parent.glob(f"{folder.name}.g*"), default=folder, key=_generation)
    if not folder.is_dir():
        known = sorted(p.parent.name + "/" + p.name for p in info.folder.glob("*/r*-a*"))
        raise InputError(f"run {info.id} has no attempt {id_}; it has: {', '.join(known[:20])}")
    return folder


def _generation(folder: Path) -> int:
    number = folder.name.rpartition(".g")[2]
    return int(number) if number.isdigit() else 0


def _told(folder: Path) -> Iterator[str]:
    result = attempt_result.load(folder)
    if result is not None:
        cost = "unknown" if result.cost_usd is None else f"${result.cost_usd:.4f}"
        yield f"{result.key}: {result.ending}, {one_line(result.reason)}"
        yield f"{result.turns} turns, {result.seconds:.1f} s, {cost}"
    verification = verification_record.load(folder)
    if verification is not None:
        yield "verification: " + ("usable" if verification.usable else "not usable")
        for check in verification.acceptance:
            mark = "passed" if check.passed else "failed"
            yield f"  {mark}: {one_line(check.name)} {one_line(check.detail)}".rstrip()
        yield from (f"  problem: {one_line(problem)}" for problem in verification.problems)
    names = (TRANSCRIPT, attempt_result.PATCH, verification_record.EVIDENCE)
    for path in (folder / name for name in names):
        if path.exists():
            yield f"file: {path}"
    yield ""
    yield from _conversation(folder / TRANSCRIPT)
    patch = folder / attempt_result.PATCH
    if patch.exists():
        yield "--- patch"
        yield visible(patch.read_text("utf-8", "replace"))


def _conversation(path: Path) -> Iterator[str]:
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            fact = json.loads(line)
        except ValueError:
            continue  # being written, or cut by a crash
        if fact.get("type") == "reply":
            yield f"turn {fact['turn']}:"
        for block in fact.get("content") or ():
            yield from _block(block)


def _block(block: Any) -> Iterator[str]:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text":
        yield f"  says: {one_line(str(block['text']), 400)}"
    elif kind == "tool_use":
        yield f"  calls {block['name']}: {one_line(json.dumps(block['input']), 400)}"
    elif kind == "tool_result":
        yield f"  result: {one_line(json.dumps(block.get('content')), 400)}"


def diff(command: Command, _workspace: Workspace, info: RunInfo) -> int:
    """What was merged for the feature, else the patch of the attempt that would be first."""
    now = state.fold(read_events(info.events))
    feature = now.features.get(command.feature or "")
    if feature is None:
        known = ", ".join(sorted(now.features)[:20])
        raise InputError(f"run {info.id} has no feature {command.feature}; it has: {known}")
    if feature.commit is not None:
        print(_readable(asyncio.run(_shown(Path(now.repo), feature.commit))))
        return 0
    names = [feature.winner] if feature.winner else sorted(feature.attempts)
    patches = [info.folder / feature.id / name / attempt_result.PATCH for name in names]
    found = next((p for p in patches if p.exists() and p.stat().st_size), None)
    if found is None:
        raise InputError(f"{feature.id} is {feature.state}, and no attempt has left a patch yet")
    print(f"# {feature.id}/{found.parent.name}, not merged: {feature.state}")
    print(_readable(found.read_text("utf-8", "replace")))
    return 0


def _readable(patch: str) -> str:
    """For a person, nothing in it hides; for a program that applies it, it is as it was made."""
    return visible(patch) if sys.stdout.isatty() else patch


async def _shown(repo: Path, commit: str) -> str:
    repository = await git.open_repository(repo)
    return await repository.git("show", "--format=%H%n%B", commit)
