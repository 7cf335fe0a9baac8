"""Measures SLAs: each probe within its time, and whatever goes wrong is missing data in words."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.ports import Clock
from harness.sla import folder, postgres, programs, web
from harness.sla.surroundings import Surroundings
from orchestrator import slas
from orchestrator.errors import ProbeError
from orchestrator.sla.probes import PROBE_TYPES
from orchestrator.sla.values import Sample, Sla

_MEASURES: Mapping[str, Callable[[Any, Surroundings], Awaitable[float]]] = {
    "postgres_freshness": postgres.freshness,
    "postgres_lag": postgres.lag,
    "postgres_query": postgres.query,
    "http": web.http,
    "file_age": folder.age,
    "file_count": folder.count,
    "tcp": web.tcp,
    "command": programs.command,
    "skill": programs.skill,
}
assert set(_MEASURES) == set(PROBE_TYPES)  # a probe that the file knows and nobody measures

#: How long a probe that was let go may take to notice, before it is left behind.
_LET_GO = 0.5


class Prober:
    """Measures one SLA at a time; many at once. A probe that cannot even be let go is left
    behind, and its SLA has no data until it has ended: hanging probes do not pile up."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._hanging: dict[str, asyncio.Task[float]] = {}

    async def sample(self, sla: Sla) -> Sample:
        """The SLA as it is now. Never raises for what a probe met."""
        began = time.perf_counter()
        value, detail = None, ""
        try:
            value = await self._value(sla)
        except ProbeError as error:
            detail = str(error)
        took = time.perf_counter() - began
        return slas.judge(sla, self.around.clock.now(), value, detail, round(took, 6))

    async def _value(self, sla: Sla) -> float:
        if sla.probe is None:
            raise ProbeError(
                "nothing measures it; write it as an object with error: and a probe:, whose "
                f"type is one of {', '.join(PROBE_TYPES)}"
            )
        left = self._hanging.get(sla.name)
        if left is not None and not left.done():
            raise ProbeError("the check before this one still hangs")
        measure = _MEASURES[sla.probe.type]
        task = asyncio.ensure_future(measure(sla.probe, replace(self.around, timeout=sla.timeout)))
        try:
            await asyncio.wait({task}, timeout=sla.timeout)
        finally:
            if not task.done():
                await self._let_go(sla, task)
        if task.cancelled() or not task.done():
            raise ProbeError(f"no answer within {sla.timeout:g} s")
        return task.result()

    async def _let_go(self, sla: Sla, task: "asyncio.Task[float]") -> None:
        task.cancel()
        await asyncio.wait({task}, timeout=_LET_GO)
        if not task.done():
            self._hanging[sla.name] = task
            task.add_done_callback(_heard)


def _heard(task: "asyncio.Task[float]") -> None:
    if not task.cancelled():
        task.exception()


@contextlib.asynccontextmanager
async def open_prober(
    workspace: Path, clock: Clock, env: Mapping[str, str] | None = None
) -> AsyncIterator[Prober]:
    """A prober whose HTTP client is closed at the end. `env` holds the probes' secrets."""
    import httpx2  # noqa: PLC0415 - 80 ms

    # Time is held per SLA, above; a pool would make a slow server delay its neighbours.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx2.AsyncClient(timeout=None, limits=limits, follow_redirects=False) as client:
        given = os.environ if env is None else env
        yield Prober(Surroundings(workspace, given, clock, client))
