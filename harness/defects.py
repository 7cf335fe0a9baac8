"""Keeps the traces of what nobody expected, for whoever looks for the mistake."""

import contextlib
import traceback
from pathlib import Path

#: In a run's folder, beside its store.
DEFECTS = "defects.log"


def keep_trace(folder: Path, workflow: str, error: Exception) -> None:
    """Whoever looks for the mistake needs more than its name."""
    lines = [f"== {workflow}\n", *traceback.format_exception(error)]
    # What cannot be kept must not hide the error itself.
    with contextlib.suppress(OSError), (folder / DEFECTS).open("a") as file:
        file.writelines(lines)
