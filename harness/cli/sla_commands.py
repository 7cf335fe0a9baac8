"""`fibreflow sla`: measure once, watch, look back, report, and let a held run go on."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from harness.cli.commands import user
from harness.cli.flags import Command
from harness.cli.sla_flags import SlaOptions
from harness.record import files
from harness.record.clock import SystemClock, iso
from harness.record.workspace import Workspace
from harness.sla import opening
from harness.sla.gate import OVERRIDE
from harness.sla.monitor import FILE_NAME, Monitor
from harness.sla.opening import Ports
from harness.sla.page import standings
from orchestrator.errors import InputError
from orchestrator.sla.observing import described
from orchestrator.sla.values import DAY, Sample, Sla
from orchestrator.slas import Standing

_MARK = {
    "ok": "ok",
    "warn": "warn",
    "error": "ERROR",
    "no_data": "no data",
    "maintenance": "maint.",
}


def sla(command: Command) -> int:
    """Dispatch to what was asked for; 1 when an SLA that something measures is violated."""
    options = command.sla
    assert options is not None
    if not command.workspace.is_dir():
        raise InputError(f"--workspace {command.workspace}: there is no such folder")
    workspace = command.workspace.resolve()
    path = options.file or workspace / FILE_NAME
    return _WORDS[options.word](options, path, workspace)


def _check(options: SlaOptions, path: Path, workspace: Path) -> int:
    return asyncio.run(_checked(options, path, workspace))


async def _checked(options: SlaOptions, path: Path, workspace: Path) -> int:
    async with opening.open_monitor(path, workspace, alerts=False) as monitor:
        slas = [s for s in monitor.file.slas.values() if options.sla in {None, s.name}]
        if not slas:
            raise InputError(f"{path}: no SLA is called {options.sla!r}")
        samples = await monitor.check(slas)
    if options.json:
        print(json.dumps({"file": str(path), "slas": [asdict(s) for s in samples]}))
    else:
        for one, sample in zip(slas, samples, strict=True):
            print(f"{_MARK[sample.state]:8} {described(one, sample)}")
    broken = [s for o, s in zip(slas, samples, strict=True) if o.probe and _is_broken(o, s)]
    return 1 if broken else 0


def _is_broken(sla: Sla, sample: Sample) -> bool:
    missing = sample.state == "no_data" and sla.no_data != "good"
    return sample.state == "error" or missing


def _watch(options: SlaOptions, path: Path, workspace: Path) -> int:
    def listening(ports: Ports) -> None:
        place = f"http://{ports.host}"
        print(f"watching {path}", flush=True)
        print(f"status page {place}:{ports.page}/", flush=True)
        print(f"health {place}:{ports.health}/health", flush=True)

    ports = Ports(*options.ports) if options.ports else None
    asyncio.run(opening.serve(path, workspace, ports, listening))
    return 0


def _history(options: SlaOptions, path: Path, workspace: Path) -> int:
    samples, hours = asyncio.run(_kept(options, path, workspace))
    if options.json:
        body = {"samples": [asdict(s) for s in samples], "hours": [asdict(h) for h in hours]}
        print(json.dumps(body))
        return 0
    for hour in hours:
        counts = ", ".join(f"{number} {_MARK[state]}" for state, number in hour.counts.items())
        span = "" if hour.low is None else f", {hour.low:.6g} to {hour.high:.6g}"
        print(f"{iso(hour.hour)}  {hour.sla}  hour: {counts}{span}")
    for sample in samples:
        value = sample.detail if sample.value is None else f"{sample.value:.6g}"
        print(f"{iso(sample.time)}  {sample.sla}  {_MARK[sample.state]}  {value}")
    if not samples and not hours:
        print("nothing is kept yet; `fibreflow sla check` and `fibreflow sla watch` measure")
    return 0


async def _kept(options: SlaOptions, path: Path, workspace: Path):  # type: ignore[no-untyped-def]
    async with opening.open_monitor(path, workspace, alerts=False) as monitor:
        since = SystemClock().now() - options.days * DAY
        samples = monitor.store.samples(since, options.sla)
        return samples, [h for h in monitor.store.hours(options.sla) if h.hour >= since]


def _report(options: SlaOptions, path: Path, workspace: Path) -> int:
    monitor, found = asyncio.run(_standings(path, workspace))
    if options.json:
        print(json.dumps({name: _plain(standing) for name, standing in found.items()}))
    else:
        for one in monitor.file.slas.values():
            print(_told(one, found.get(one.name)))
    return 1 if any(standing.met is False for standing in found.values()) else 0


async def _standings(path: Path, workspace: Path) -> tuple[Monitor, dict[str, Standing]]:
    async with opening.open_monitor(path, workspace, alerts=False) as monitor:
        return monitor, standings(monitor, SystemClock().now())


def _plain(standing: Standing) -> dict[str, object]:
    burns = [{**asdict(b), "burning": b.burning} for b in standing.burns]
    return {**asdict(standing), "burns": burns}


def _told(one: Sla, standing: Standing | None) -> str:
    if standing is None:
        return f"{one.name}: nothing measures it; add a probe"
    if standing.compliance is None or standing.budget_left is None:
        return f"{one.name}: no samples yet"
    days = one.window / DAY
    met = "met" if standing.met else "MISSED"
    line = (
        f"{one.name}: {standing.compliance:.3%} good over {days:g} days, objective "
        f"{one.objective:.3%} {met}; error budget left {standing.budget_left:.1%}"
    )
    burning = [f"{b.threshold:g}x over {b.long / 3600:g} h" for b in standing.burns if b.burning]
    return line + (f"; burning {', '.join(burning)}" if burning else "")


def _override(options: SlaOptions, path: Path, workspace: Path) -> int:  # noqa: ARG001
    """What a run that holds looks for at each of its checks."""
    runs = [r for r in Workspace(workspace).runs() if not r.finished]
    if not runs:
        raise InputError(f"{workspace}: no run is under way here that could be held")
    body = {"by": user(), "reason": options.reason}
    files.replace_json(runs[0].folder / OVERRIDE, body)
    print(f"{runs[0].id} goes on at its next check, and its report will say why")
    return 0


_WORDS: Mapping[str, Callable[[SlaOptions, Path, Path], int]] = {
    "check": _check,
    "watch": _watch,
    "history": _history,
    "report": _report,
    "override": _override,
}
