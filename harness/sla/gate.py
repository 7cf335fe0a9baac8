"""Holds work up while the data it needs is not fresh; a hold costs no sandbox and no model."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cli.commands import user
from harness.cli.flags import RunOptions
from harness.ports import Clock
from harness.record.journal import Journal
from harness.record.workspace import Workspace
from harness.sla import monitor, probing
from harness.sla.probing import Prober
from orchestrator import events
from orchestrator.errors import SlaViolatedError
from orchestrator.sla import gate as slas_gate
from orchestrator.sla.gate import Policy, Ruling
from orchestrator.sla.values import Sample, Sla, SlaFile
from orchestrator.values import Feature

#: In a run's folder: what `fibreflow sla override` leaves for a run that holds.
OVERRIDE = "sla-override.json"
#: While it holds, it looks again at least so often. Seconds.
_LOOK_AGAIN = 10.0


@dataclass(frozen=True, slots=True)
class GateSettings:
    """`limit`: how many seconds a hold may last. `override`: a person's reason to go on with
    stale data, empty for none, and `by` who that is. `default_agent`: of features that name none.
    """

    policy: Policy = "hold"
    limit: float = 3600.0
    override: str = ""
    by: str = ""
    default_agent: str = ""


def gate_settings(options: RunOptions, default_agent: str) -> GateSettings:
    return GateSettings(
        policy=options.sla_policy,
        limit=options.sla_wait_minutes * 60,
        override=options.sla_override,
        by=user(),
        default_agent=default_agent,
    )


class SlaGate:
    """`harness.services.Gate` by the workspace's SLAs. Each is measured anew before it is
    trusted; what several features wait for is measured once for all of them."""

    def __init__(  # noqa: PLR0913 - ports and values, each of its own kind
        self,
        file: SlaFile,
        prober: Prober,
        clock: Clock,
        journal: Journal,
        settings: GateSettings,
        *,
        run_folder: Path,
    ) -> None:
        self._slas = tuple(file.slas.values())
        self._prober = prober
        self._clock = clock
        self._journal = journal
        self._settings = settings
        self._override = run_folder / OVERRIDE
        self._latest: dict[str, Sample] = {}
        self._measuring: dict[str, asyncio.Lock] = {}

    async def admit_run(self) -> None:
        """Returns when the run may begin. Raises `SlaViolatedError` when it may not."""
        why = await self._pass(slas_gate.gating_run(self._slas), None)
        if why:
            raise SlaViolatedError(
                f"the run cannot start: {why}; make the data fresh, or go on with "
                '`--sla-override "REASON"` (docs/slas.md)'
            )

    async def admit(self, feature: Feature) -> str:
        """Returns when work on the feature may begin: empty; or why it may not."""
        agent = feature.agent or self._settings.default_agent
        slas = slas_gate.gating_feature(self._slas, feature.id, agent, feature.scope)
        return await self._pass(slas, feature.id)

    async def _pass(self, slas: Sequence[Sla], feature: str | None) -> str:
        began: float | None = None
        while slas:
            ruling = await self._rule(slas)
            if ruling.action == "hold" and not self._is_over(began):
                began = self._hold(began, ruling, feature)
                await self._clock.sleep(min(_LOOK_AGAIN, *(sla.interval for sla in slas)))
                continue
            self._tell(ruling, feature, began)
            return ruling.why if ruling.action in {"hold", "refuse"} else ""
        return ""

    async def _rule(self, slas: Sequence[Sla]) -> Ruling:
        samples = await asyncio.gather(*(self._sample(sla) for sla in slas))
        found = {sample.sla: sample for sample in samples}
        return slas_gate.rule(self._settings.policy, slas, found, self._overridden()[0])

    async def _sample(self, sla: Sla) -> Sample:
        """Measured now, or while this waited for somebody else's measurement."""
        asked = self._clock.now()
        async with self._measuring.setdefault(sla.name, asyncio.Lock()):
            known = self._latest.get(sla.name)
            if known is None or known.time < asked:
                known = await self._prober.sample(sla)
                self._latest[sla.name] = known
            return known

    def _overridden(self) -> tuple[str, str]:
        """The reason and the person, from the flag or from what was left in the run's folder."""
        own = self._settings
        if own.override:
            return own.override, own.by
        try:
            data = json.loads(self._override.read_bytes())
            return str(data["reason"]), str(data["by"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", ""

    def _is_over(self, began: float | None) -> bool:
        return began is not None and self._clock.now() - began >= self._settings.limit

    def _hold(self, began: float | None, ruling: Ruling, feature: str | None) -> float:
        if began is not None:
            return began
        held = events.DataHeld(feature=feature, slas=ruling.slas, reason=ruling.why)
        self._journal.write(held)
        return self._clock.now()

    def _tell(self, ruling: Ruling, feature: str | None, began: float | None) -> None:
        seconds = 0.0 if began is None else self._clock.now() - began
        if ruling.action in {"hold", "refuse"}:
            after = f" after {seconds:.0f} s of waiting" if began is not None else ""
            reason = f"{ruling.why}{after}"
            event: events.Event = events.DataRefused(
                feature=feature, slas=ruling.slas, reason=reason
            )
            self._journal.write(event)
            return
        reason, by = self._overridden()
        if ruling.action == "warn" and reason:
            self._journal.write(
                events.DataOverridden(
                    feature=feature, slas=ruling.slas, by=by, reason=reason, what=ruling.why
                )
            )
        elif ruling.action == "warn":
            text = f"data: {feature + ': ' if feature else ''}{ruling.why}"
            self._journal.write(events.WarningGiven(message=text))
        if began is not None:
            self._journal.write(events.DataReleased(feature=feature, seconds=round(seconds, 3)))


@contextlib.asynccontextmanager
async def open_gate(
    workspace: Workspace, run: str, clock: Clock, journal: Journal, settings: GateSettings
) -> AsyncIterator[SlaGate | None]:
    """A gate where the workspace has SLAs that gate something, else None."""
    path = workspace.root / monitor.FILE_NAME
    file = monitor.read(path) if path.exists() else None
    if file is None or not any(slas_gate.gates_anything(sla) for sla in file.slas.values()):
        yield None
        return
    folder = workspace.run_folder(run)
    async with probing.open_prober(workspace.root, clock) as prober:
        yield SlaGate(file, prober, clock, journal, settings, run_folder=folder)
