"""What is asked of a provider: limits it must hold or refuse, and many sandboxes at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields

from harness.ports import Base, Capabilities, Sandbox, SandboxLimits, SandboxProvider
from orchestrator.errors import SandboxUnavailableError


def checked(name: str, held: Capabilities, limits: SandboxLimits | None) -> SandboxLimits:
    """`limits`, or the default ones. Raises `SandboxUnavailableError` naming those that the
    provider called `name` does not hold."""
    asked = limits or SandboxLimits()
    numbers = (f.name for f in fields(asked) if f.name != "allow")
    known = {str(limit): how for limit, how in held.limits.items()}
    refused = [
        n for n in numbers if getattr(asked, n) is not None and known.get(n, "none") == "none"
    ]
    if asked.allow and not held.allow_list:
        refused.append("allow")
    if refused:
        raise SandboxUnavailableError(
            f"the sandbox provider `{name}` cannot hold {', '.join(refused)} here; ask for less, "
            "or see `fibreflow doctor` for what is missing"
        )
    return asked


async def fork(
    provider: SandboxProvider,
    base: Base,
    keys: Sequence[str],
    labels: Mapping[str, str] | None,
    limits: SandboxLimits | None,
) -> tuple[Sandbox, ...]:
    """`create` for every key at once; when one fails, those that were made are destroyed."""
    made = await asyncio.gather(
        *(provider.create(base, key, labels=labels, limits=limits) for key in keys),
        return_exceptions=True,
    )
    failed = [m for m in made if isinstance(m, BaseException)]
    sandboxes = tuple(m for m in made if not isinstance(m, BaseException))
    if failed:
        await asyncio.gather(*(sandbox.destroy() for sandbox in sandboxes))
        raise failed[0]
    return sandboxes
