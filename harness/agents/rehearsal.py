"""Runs the acceptance commands where the agent works, before its submit is taken.

That judges nothing: verification does, in a clean copy. It spares a verification, and often a
round, for work that its own author had not tried.
"""

from collections.abc import Sequence

from harness.agents.tools import COMMAND_SECONDS, describe
from harness.ports import Sandbox

_LIMIT = 8_000
REFUSED = (
    "Not taken yet: the acceptance command `{command}` fails here:\n{output}\n"
    "Mend the cause, or say in the summary why this cannot pass, and submit again: the next submit "
    "is taken as it is."
)


async def refusal(sandbox: Sandbox, commands: Sequence[str], seconds: float) -> str | None:
    """What to tell the agent of the first command that fails; None when all pass, or when one of
    them comes to no end in time, which says nothing. `seconds` are left in all."""
    for command in commands:
        timeout = max(1.0, min(COMMAND_SECONDS, seconds / 2))
        done = await sandbox.exec(f"exec 2>&1; {command}", timeout=timeout, limit=_LIMIT)
        if done.timed_out:
            return None
        if done.exit != 0:
            return REFUSED.format(command=command, output=describe(done, timeout))
    return None
