"""Checks SLAs, once or for ever: each in its own rhythm, so that a slow one delays no other."""

import asyncio
import contextlib
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.ports import Clock
from harness.sla.alerting import Alerting
from harness.sla.probing import Prober
from harness.sla.store import SampleStore
from harness.sla.threads import in_thread
from orchestrator.errors import InputError, MachineError
from orchestrator.sla import file as slas_file
from orchestrator.sla.values import Sample, Sla, SlaFile

FILE_NAME = "data_layer_slas.yaml"
#: Each check comes up to this share of its interval early or late, so that many SLAs that began
#: together do not go on together.
_JITTER = 0.1
#: The first checks come this far apart on average. Seconds.
_APART = 0.3
#: Compaction looks at whole hours; a quarter of that is soon enough. Seconds.
_HOUSEKEEPING = 900.0
#: Before a dependent is announced, what it depends on is looked at again unless that is as
#: fresh as this. Seconds.
_FRESH = 5.0


def read(path: Path) -> SlaFile:
    """Raises `InputError`, `SlaFileError` with every problem at once."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file; give one with --file (see docs/slas.md)"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return slas_file.parse(data, str(path))


class Monitor:
    """Measures, keeps and hands on. `alerting` None: nobody is told."""

    def __init__(  # noqa: PLR0913 - what a monitor works with; each is a port or a value
        self,
        file: SlaFile,
        prober: Prober,
        store: SampleStore,
        clock: Clock,
        *,
        alerting: Alerting | None = None,
        seed: int | None = None,
    ) -> None:
        self.file = file
        self.store = store
        self.clock = clock
        self.alerting = alerting
        self.latest: dict[str, Sample] = {}
        self.trouble = ""  # why the last samples could not be kept
        self._prober = prober
        self._random = random.Random(seed)  # noqa: S311 - spreads checks, guards nothing

    async def check(self, slas: Sequence[Sla]) -> tuple[Sample, ...]:
        """Measure these now, all at once. Raises `MachineError` when nothing can be kept."""
        samples = tuple(await asyncio.gather(*(self._prober.sample(sla) for sla in slas)))
        self._take(samples)
        return samples

    def _take(self, samples: Sequence[Sample]) -> None:
        self.latest |= {sample.sla: sample for sample in samples}
        self.store.append([s for s in samples if self.file.slas[s.sla].probe is not None])
        if self.alerting is not None:
            self.alerting.take([sample.sla for sample in samples], self.latest)

    async def watch(self) -> None:
        """Check for ever, until cancelled."""
        probed = [sla for sla in self.file.slas.values() if sla.probe is not None]
        await self.check([sla for sla in self.file.slas.values() if sla.probe is None])
        async with asyncio.TaskGroup() as group:
            for sla in probed:
                group.create_task(self._follow(sla))
            group.create_task(self._keep_house())
            if self.alerting is not None:
                group.create_task(self.alerting.deliver())

    async def _follow(self, sla: Sla) -> None:
        # A few begin at once, many are spread over their interval.
        spread = min(sla.interval, len(self.file.slas) * _APART)
        await self.clock.sleep(self._random.random() * spread)
        while True:
            began = self.clock.monotonic()
            await self._look(sla)
            spread = 1 + _JITTER * (2 * self._random.random() - 1)
            took = self.clock.monotonic() - began
            await self.clock.sleep(max(0.0, sla.interval * spread - took))

    async def _look(self, sla: Sla) -> None:
        sample = await self._prober.sample(sla)
        samples = [sample]
        if sample.measured != "ok":
            samples = [*await self._causes(sla), sample]
        try:
            self._take(samples)
            self.trouble = ""
        except MachineError as error:
            # A full disk must not end the watch: it goes on, and says so on the status page.
            if not self.trouble:
                print(f"sla: {error}", file=sys.stderr)  # noqa: T201
            self.trouble = str(error)

    async def _causes(self, sla: Sla) -> list[Sample]:
        """What this SLA depends on, measured anew where the last look is a while ago."""
        stale = [
            self.file.slas[name]
            for name in sla.depends_on
            if self.file.slas[name].probe is not None and self._is_old(name)
        ]
        return list(await asyncio.gather(*(self._prober.sample(need) for need in stale)))

    def _is_old(self, name: str) -> bool:
        sample = self.latest.get(name)
        return sample is None or self.clock.now() - sample.time > _FRESH

    async def _keep_house(self) -> None:
        while True:
            with contextlib.suppress(MachineError):  # said by the next sample that is kept
                await in_thread(self._compact)
            await self.clock.sleep(_HOUSEKEEPING)

    def _compact(self) -> None:
        self.store.compact(self.clock.now(), self.file.monitoring.retention)
