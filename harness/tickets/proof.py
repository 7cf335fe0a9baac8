"""Shows in sandboxes that the new tests of a ticket's patch fail without the change."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import sandboxes
from harness.ports import Base, BaseSpec, SandboxProvider
from harness.tickets.settings import TicketSettings
from harness.verify.reproduction import ReproductionJob, reproduce
from orchestrator.errors import SandboxError
from orchestrator.tickets.reproduction import told

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Claims:
    """Patches for `commit` of the repository `repo`, the likeliest first, and whether they say to
    mend a bug. `name` is of this piece of work alone; `log`: where the runs are written down."""

    name: str
    repo: Path
    commit: str
    patches: Sequence[bytes]
    bug: bool
    log: Path


@dataclass(frozen=True, slots=True)
class Proof:
    """Of the patch `index`: lines of what its own tests show, and of what they do not."""

    index: int = 0
    shown: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


async def proof(claims: Claims, settings: TicketSettings, sandbox: str) -> Proof:
    """The first patch whose tests show its bug; the first of all when none does. Of what is no bug
    the first is taken, whatever it shows."""
    provider = sandboxes.provider(sandbox, f"proof-{claims.name}")
    try:
        await provider.reap()  # what a killed process left
        base = await provider.prepare(BaseSpec(claims.repo, claims.commit, settings.setup))
        return await _first(claims, settings, provider, base)
    except SandboxError as error:
        return Proof(lacking=(f"its own tests without the change: the sandbox failed: {error}",))
    finally:
        await provider.close()


async def _first(
    claims: Claims, settings: TicketSettings, provider: SandboxProvider, base: Base
) -> Proof:
    found = Proof()
    for index, patch in enumerate(claims.patches):
        job = ReproductionJob(
            provider=provider,
            base=base,
            patch=patch,
            test=settings.test,
            protected=tuple(settings.protected),
            log=claims.log,
            key=f"proof-{index}",
            seconds=_SECONDS,
        )
        one = Proof(index, *told(await reproduce(job), bug=claims.bug))
        if one.shown or not claims.bug:
            return one
        found = found if found.lacking else one
    return found
