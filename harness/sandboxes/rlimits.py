"""Resource limits of a command, within what this machine allows."""

import functools
import os
import re
import resource
from math import ceil

from harness.ports import SandboxLimits


def wanted(limits: SandboxLimits) -> dict[int, int]:
    """RLIMIT constant -> value. More than this process's own hard limit cannot be granted."""
    asked = {
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: None if limits.file_mb is None else limits.file_mb << 20,
        # None at all: with 0, a program that the machine has for crashes is started all the same.
        resource.RLIMIT_CORE: 1,
        # Of each process; all of them together are watched.
        resource.RLIMIT_CPU: None if limits.cpu_seconds is None else ceil(limits.cpu_seconds),
    }
    return {kind: within_hard_limit(kind, v) for kind, v in asked.items() if v is not None}


def within_hard_limit(kind: int, value: int) -> int:
    _, hard = resource.getrlimit(kind)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


@functools.cache
def processes_enforced() -> bool:
    """Whether RLIMIT_NPROC counts the processes of one sandbox and nothing else.

    Linux counts per user namespace since 5.14; before, it counted all of the user's. Root is
    exempt, in whatever namespace.
    """
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return os.getuid() != 0 and version >= (5, 14)
