"""Goes on with what people have answered: a plan, a deployment, the work that a rejection is."""

import asyncio
from dataclasses import replace

from harness.cli.flags import RunOptions
from harness.deploy import driving
from harness.deploy.driving import Asked
from harness.deploy.records import Records
from harness.record.workspace import Workspace
from orchestrator.deploy import course
from orchestrator.deploy.course import EXIT_CODES
from orchestrator.errors import WorkspaceLockedError

#: What whoever took the answer in says then.
LOCKED = (
    "the answer is kept: the process that has the workspace goes on by itself; where it does not, "
    "`fibreflow approvals continue` does, after its end"
)


def go_on(workspace: Workspace) -> int:
    """The exit code of what was done; 0 where nothing is to do, or another process does it."""
    from harness import app, wiring  # noqa: PLC0415 - most answers are about deployments
    from harness.planner import driving as planning  # noqa: PLC0415

    try:
        plan = planning.answered(workspace)
        if plan is not None:
            return planning.resume(plan, wiring.choose_model, app.start)
        code = deployment(workspace)
        options = _of_rejected(workspace)
        return code if options is None else app.start(options)
    except WorkspaceLockedError as error:
        print(f"{error}\n{LOCKED}", flush=True)
        return 0


def deployment(workspace: Workspace) -> int:
    """Continue the open deployment, if there is one. Raises `WorkspaceLockedError`."""
    done = asyncio.run(driving.go_on(workspace, Asked()))
    if done is None:
        return 0
    print(driving.told(workspace, done), flush=True)
    # Whoever rejects has got what they wanted.
    return 0 if done.answer == "rejected" else EXIT_CODES[course.status(done)]


def needs_run(workspace: Workspace) -> bool:
    """Whether an answer is work for a run, which is a process of its own."""
    from harness.planner import driving as planning  # noqa: PLC0415 - as above

    return planning.answered(workspace) is not None or _of_rejected(workspace) is not None


def is_answered(workspace: Workspace) -> bool:
    """Whether somebody has answered, or let the time pass, and nobody has gone on."""
    deployed = Records(workspace).open()
    asked = driving.store(workspace).find(deployed.request) if deployed is not None else None
    return needs_run(workspace) or (asked is not None and asked.standing != "pending")


def _of_rejected(workspace: Workspace) -> RunOptions | None:
    """The options of the unattended run whose deployment a person has rejected, when nobody has
    worked on the reason; None for others, which a person begins."""
    refused = driving.rejected(workspace)
    options = None if refused is None else driving.options_of_run(workspace, refused.run)
    if options is None or not options.autopilot:
        return None
    _, settings = driving.read(workspace)
    # It works on all that is left, and keeps nobody waiting at its end.
    going = replace(options, only=(), planned="", wait=False)
    return None if settings.on == "demand" else going
