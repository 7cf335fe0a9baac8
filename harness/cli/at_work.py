"""Whether a run is at work now: one answer for every command."""

from harness import database
from harness.record.workspace import RunInfo, Workspace


def is_at_work(workspace: Workspace, info: RunInfo) -> bool:
    """Whether a live process works on this run: in a fleet the one that holds it, else the one
    that holds the workspace, and has put down there which run that is for."""
    if info.finished:
        return False
    if database.url():
        from harness.fleet import books  # noqa: PLC0415 - heavy, and for fleets alone

        if (held := books.is_held(info.id)) is not None:
            return held
    holder = workspace.holder()
    return holder is not None and holder.run == info.id
