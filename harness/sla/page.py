"""The health endpoint and the plain status page: one small ASGI application over a monitor."""

import asyncio
import html
from typing import TYPE_CHECKING, Any

from harness.record.clock import iso
from harness.sla.monitor import Monitor
from harness.sla.threads import in_thread
from orchestrator import slas
from orchestrator.errors import MachineError
from orchestrator.sla.observing import described
from orchestrator.sla.values import Sample, Sla
from orchestrator.slas import Standing

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

#: An SLA that was not checked for so many of its intervals is not watched any more.
_MISSED = 3
#: Standings read a month of samples: not for every look at the page. Seconds.
_STANDING_AGE = 30.0


class Page:
    """What the application shows. `/health`: 200 while the monitor does its work, 503 when it
    does not; violated SLAs are the page's business, not the health's."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._standings: dict[str, Standing] = {}
        self._read = float("-inf")
        self._reading = asyncio.Lock()

    def application(self) -> "Starlette":
        from starlette.applications import Starlette  # noqa: PLC0415
        from starlette.routing import Route  # noqa: PLC0415

        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/health", self._health),
                Route("/api/sla-status", self._status),
            ]
        )

    def stale(self) -> list[str]:
        """SLAs that should have been checked long ago."""
        now = self._monitor.clock.now()
        latest = self._monitor.latest.values()
        return [s.sla for s in latest if self._is_stale(s, now)]

    def _is_stale(self, sample: Sample, now: float) -> bool:
        sla = self._monitor.file.slas[sample.sla]
        allowed = _MISSED * sla.interval + sla.timeout
        return sla.probe is not None and now - sample.time > allowed

    async def _health(self, request: "Request") -> "Response":  # noqa: ARG002
        from starlette.responses import JSONResponse  # noqa: PLC0415

        monitor, stale = self._monitor, self.stale()
        alerting = monitor.alerting
        body: dict[str, Any] = {
            "status": "failing" if stale or monitor.trouble else "ok",
            "slas": len(monitor.file.slas),
            "checked": len(monitor.latest),
            "not_checked_lately": stale,
            "trouble": monitor.trouble,
            "alerts_waiting": alerting.waiting if alerting else 0,
            "delivery_failures": alerting.failures if alerting else {},
        }
        return JSONResponse(body, status_code=200 if body["status"] == "ok" else 503)

    async def _status(self, request: "Request") -> "Response":  # noqa: ARG002
        from starlette.responses import JSONResponse  # noqa: PLC0415

        standings = await self._current()
        rows = [self._row(sla, standings.get(sla.name)) for sla in self._monitor.file.slas.values()]
        return JSONResponse({"time": iso(self._monitor.clock.now()), "slas": rows})

    def _row(self, sla: Sla, standing: Standing | None) -> dict[str, Any]:
        sample = self._monitor.latest.get(sla.name)
        return {
            "sla": sla.name,
            "state": sample.state if sample else "no_data",
            "value": sample.value if sample else None,
            "warn": sla.warn,
            "error": sla.error,
            "detail": sample.detail if sample else "not checked yet",
            "checked": iso(sample.time) if sample else None,
            "objective": sla.objective,
            "compliance": standing.compliance if standing else None,
            "budget_left": standing.budget_left if standing else None,
            "burning": [b.threshold for b in standing.burns if b.burning] if standing else [],
            "owner": sla.owner,
            "runbook": sla.runbook,
        }

    async def _page(self, request: "Request") -> "Response":  # noqa: ARG002
        from starlette.responses import HTMLResponse  # noqa: PLC0415

        standings = await self._current()
        rows = [self._row(sla, standings.get(sla.name)) for sla in self._monitor.file.slas.values()]
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(self._html(rows), headers=headers)

    def _html(self, rows: list[dict[str, Any]]) -> str:
        alerting = self._monitor.alerting
        firing = sorted(alerting.firing) if alerting else []
        told = ", ".join(html.escape(key) for key in firing) or "none"
        lines = "\n".join(_line(self._monitor, row) for row in rows)
        now = iso(self._monitor.clock.now())
        trouble = html.escape(self._monitor.trouble)
        return _HTML.format(now=now, firing=told, lines=lines, trouble=trouble)

    async def _current(self) -> dict[str, Standing]:
        async with self._reading:
            now = self._monitor.clock.monotonic()
            if now - self._read > _STANDING_AGE:
                self._standings = await in_thread(self._standing)
                self._read = now
        return self._standings

    def _standing(self) -> dict[str, Standing]:
        monitor, now = self._monitor, self._monitor.clock.now()
        try:
            return standings(monitor, now)
        except MachineError:
            return {}  # the samples cannot be read: the states are shown all the same


def standings(monitor: Monitor, now: float) -> dict[str, Standing]:
    """Compliance, budget and burn of every SLA that is measured, from what is kept. Blocks."""
    samples, hours = monitor.store.samples(), monitor.store.hours()
    by_sla: dict[str, list[Sample]] = {}
    for sample in samples:
        by_sla.setdefault(sample.sla, []).append(sample)
    return {
        sla.name: slas.standing(sla, now, by_sla.get(sla.name, []), hours)
        for sla in monitor.file.slas.values()
        if sla.probe is not None
    }


def _line(monitor: Monitor, row: dict[str, Any]) -> str:
    sample = monitor.latest.get(row["sla"])
    words = described(monitor.file.slas[row["sla"]], sample) if sample else row["detail"]
    cells = (
        row["sla"],
        row["state"].replace("_", " "),
        words,
        "" if row["compliance"] is None else f"{row['compliance']:.2%} of {row['objective']:.2%}",
        "" if row["budget_left"] is None else f"{row['budget_left']:.0%}",
        ", ".join(f"{threshold:g}x" for threshold in row["burning"]),
        row["checked"] or "",
        row["owner"],
    )
    tds = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
    return f'<tr class="{row["state"]}">{tds}</tr>'


_HTML = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="30">
<title>Data-layer SLAs</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222 }}
table {{ border-collapse: collapse }} td, th {{ padding: .3rem .8rem; text-align: left }}
tr {{ border-bottom: 1px solid #ddd }}
.ok td:nth-child(2) {{ color: #17692f }} .warn td:nth-child(2) {{ color: #8a5a00 }}
.error td:nth-child(2) {{ color: #b00020; font-weight: bold }}
</style></head><body>
<h1>Data-layer SLAs</h1>
<p>{now}. Alerts firing: {firing}. {trouble}</p>
<table><tr><th>SLA</th><th>state</th><th>measured</th><th>compliance</th><th>budget left</th>
<th>burning</th><th>checked</th><th>owner</th></tr>
{lines}
</table></body></html>
"""
