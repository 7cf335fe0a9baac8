"""Shows in sandboxes that the new tests of a ticket's patch fail without the change."""

from dataclasses import dataclass
from pathlib import Path

from harness import sandboxes
from harness.ports import BaseSpec
from harness.tickets.settings import TicketSettings
from harness.verify.reproduction import ReproductionJob, reproduce
from orchestrator.errors import SandboxError
from orchestrator.reproduction import Seen, told

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A patch for `commit` of the repository `repo`, and whether it says to mend a bug."""

    repo: Path
    commit: str
    patch: bytes
    bug: bool


async def proof(
    claim: Claim, settings: TicketSettings, sandbox: str, log: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines of what the patch's own tests show, and of what they do not."""
    try:
        seen = await _seen(claim, settings, sandbox, log)
    except SandboxError as error:
        return (), (f"its own tests without the change: the sandbox failed: {error}",)
    return told(seen, bug=claim.bug)


async def _seen(
    claim: Claim, settings: TicketSettings, sandbox: str, log: Path
) -> tuple[Seen, ...]:
    name = f"proof-{claim.commit[:12]}"
    provider = sandboxes.provider(sandbox, name)
    try:
        await provider.reap()  # what a killed process left
        spec = BaseSpec(claim.repo, claim.commit, settings.setup)
        return await reproduce(
            ReproductionJob(
                provider=provider,
                base=await provider.prepare(spec),
                patch=claim.patch,
                test=settings.test,
                protected=tuple(settings.protected),
                log=log,
                key=name,
                seconds=_SECONDS,
            )
        )
    finally:
        await provider.close()
