"""The commands that steer a run at work: each leaves a request in its store and says the answer."""

import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

from harness.cli.at_work import is_at_work
from harness.cli.flags import Command
from harness.control_book import ControlBook, new_request
from harness.fleet import books
from harness.record.journal import read_events
from harness.record.workspace import RunInfo, Workspace
from orchestrator.errors import InputError, MachineError
from orchestrator.runs import controls, state
from orchestrator.runs.controls import Control, Kind

#: How long a run at work may take to answer: it looks several times a second.
_ANSWER_SECONDS = 15.0
#: How long a detached run may take to take hold of its workspace.
_START_SECONDS = 60.0


def steer(command: Command, workspace: Workspace, info: RunInfo, by: str) -> int:
    """Ask the run for what the command says; its answer on the screen. 2 when it was refused."""
    words = command.words
    return ask(
        workspace,
        info,
        Control(
            id="",
            kind=cast("Kind", command.name),
            by=by,
            feature=words.get("feature"),
            attempts=words.get("attempts"),
            workers=words.get("workers"),
            budget_usd=words.get("budget"),
        ),
    )


def ask(workspace: Workspace, info: RunInfo, control: Control) -> int:
    """As `steer`. Raises `InputError` when the run is not at work, or nothing is asked of it."""
    now = state.fold(read_events(info.events))
    if control.kind == "retune" and not controls.told(control):
        raise InputError("retune: give --attempts, --workers or --budget")
    if not is_at_work(workspace, info):
        if control.kind in ("drain", "stop"):
            print(f"{info.id}: nothing to do: it is not at work")
            return 0
        raise InputError(
            f"run {info.id} is not at work, so there is nothing to {control.kind}; "
            f"`{workspace.hint('resume', info.id)}` goes on with it, "
            f"`{workspace.hint('run')} --only FEATURE` works on one feature again"
        )
    if control.kind in ("drain", "stop"):
        control = Control(control.id, control.kind, control.by, process=now.pid)
    book = ControlBook(books.store(info.folder), info.id)
    try:
        request = new_request(control, secrets.token_hex(2))
        book.ask(request)
        answer = book.answered(request.id, seconds=_ANSWER_SECONDS)
    finally:
        book.close()
    print(f"{info.id}: {answer or 'asked; it has not answered yet, see `fibreflow status`'}")
    return InputError.exit_code if answer is not None and answer.startswith("refused") else 0


def _has_begun(workspace: Workspace, run: str) -> bool:
    return bool(run) and workspace.events(run).exists()


def detach(argv: list[str], workspace: Workspace) -> int:
    """Start the same command in the background; 0 once it holds the workspace.

    Raises `MachineError` with what it said when it left before.
    """
    log = workspace.logs / "detached.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    runner = Path(__file__).resolve().parent.parent / "runner.py"
    words = [w for w in argv if w != "--detach"]
    with log.open("a") as file:
        before = file.tell()
        child = subprocess.Popen(
            [sys.executable, str(runner), *words, *([] if "--json" in words else ["--plain"])],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        code = child.poll()
        if code is not None:
            said = log.read_bytes()[before:].decode("utf-8", "replace").strip()
            if code == 0:
                print(said)
                return 0
            raise MachineError(f"the run left with exit code {code}: {said[-2000:]}")
        holder = workspace.holder()
        if holder is not None and holder.pid == child.pid and _has_begun(workspace, holder.run):
            print(f"{holder.run} runs as process {child.pid}; "
                  f"`{workspace.hint('status')} --watch` shows it, `{workspace.hint('stop')}` ends "
                  f"it; what it says is in {log}")  # fmt: skip
            return 0
        time.sleep(0.05)
    raise MachineError(f"the run has not begun after {_START_SECONDS:.0f} s; see {log}")
