"""`python harness/runner.py`, `python -m harness.runner` and `fibreflow`: flags to exit code."""

import atexit
import contextlib
import gc
import os
import sys
from dataclasses import replace
from pathlib import Path

if not __package__:
    # Run as a file: import the packages beside this folder, and keep the folder itself off the
    # path, where its modules would stand in for others of the same name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from harness.cli import flags
from orchestrator.errors import FibreFlowError


def main(argv: list[str] | None = None) -> int:
    """The exit code; see `fibreflow --help`. A mistake of the user is one message, no traceback."""
    _open_closed()
    # Python looks for garbage so often that an eighth of a start went into it, and found none.
    gc.set_threshold(50_000, 20, 100)
    # At its end the interpreter would look through all that was imported once more: half a second.
    atexit.register(gc.freeze)
    try:
        words = sys.argv[1:] if argv is None else argv
        code = _dispatch(flags.parse(words), words)
        sys.stdout.flush()  # what cannot be written is found out here, not after the exit code
        return code
    except FibreFlowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in {"harness", "orchestrator"}:
            raise
        print(
            f"error: the package {error.name!r} is not installed for {sys.executable}; run "
            "`make setup` and use .venv/bin/python, or `pip install -e .`",
            file=sys.stderr,
        )
        return 5
    except BrokenPipeError:
        # The reader of our output left, as `| head` does. Nothing more can be said to it.
        sys.stderr.close()
        return 141
    except (OSError, MemoryError) as error:
        # A full disk, too few open files or processes, too little memory: the machine's, not ours.
        print(f"error: this machine refused: {error!r}; nothing is lost, the same command goes on "
              "when there is room again", file=sys.stderr)  # fmt: skip
        _discard_output()
        return 5
    except KeyboardInterrupt:
        return 130


def _open_closed() -> None:
    """A service manager may start us with its streams closed; Python then has None for them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, stream)


def _discard_output() -> None:
    """What is left unwritten would fail once more at the interpreter's end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(command: flags.Command, words: list[str]) -> int:
    if command.run is not None and not command.run.sandbox:
        from harness import sandboxes  # noqa: PLC0415 - each command pays for its own imports only

        named = replace(command.run, sandbox=sandboxes.default())
        return _dispatch(replace(command, run=named), words)
    if command.run is not None and command.run.detach:
        from harness.cli import control_commands  # noqa: PLC0415
        from harness.record.workspace import Workspace  # noqa: PLC0415

        workspace = Workspace(command.workspace.resolve())
        if command.run.goal:
            from harness.planner.goals import goal_of, ground_of  # noqa: PLC0415

            workspace = ground_of(command.run, goal_of(command.run)).workspace
        return control_commands.detach(words, workspace)
    if command.run is not None:
        from harness import app, wiring  # noqa: PLC0415

        if command.run.goal:
            from harness.planner import driving  # noqa: PLC0415 - most runs have their list

            return driving.start(command.run, wiring.choose_model, app.start)
        return app.start(command.run)
    from harness.cli.commands import COMMANDS  # noqa: PLC0415

    return COMMANDS[command.name](command)


if __name__ == "__main__":
    raise SystemExit(main())
