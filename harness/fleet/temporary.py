"""Where a process of a run keeps temporary files: a folder of its own in the run's."""

import shutil
from pathlib import Path

from harness.fleet.member import Fleet
from harness.record.workspace import Workspace

_NAME = ".scratch"


def folder(workspace: Workspace, run: str, fleet: Fleet | None) -> Path:
    """Not there yet; what the dead left is removed. Blocks."""
    run_folder = workspace.run_folder(run)
    living = fleet.living() if fleet is not None else ()
    for path in run_folder.glob(f"{_NAME}*"):
        if path.name.removeprefix(f"{_NAME}-") not in living:
            shutil.rmtree(path, ignore_errors=True)
    own = f"{_NAME}-{fleet.holder or fleet.worker}" if fleet is not None else _NAME
    return run_folder / own
