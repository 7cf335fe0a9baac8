"""Resource limits of a command, within what this machine allows."""

import resource

from harness.ports import SandboxLimits


def wanted(limits: SandboxLimits) -> dict[int, int]:
    """RLIMIT constant -> value. More than this process's own hard limit cannot be granted."""
    values = {
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_mb << 20,
        resource.RLIMIT_CORE: 0,
    }
    return {kind: within_hard_limit(kind, value) for kind, value in values.items()}


def within_hard_limit(kind: int, value: int) -> int:
    _, hard = resource.getrlimit(kind)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
