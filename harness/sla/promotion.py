"""Whether the step to production may be taken on the data as it is."""

import asyncio
from pathlib import Path

from harness.ports import Clock
from harness.sla import monitor, probing
from orchestrator.sla import gate as slas_gate


async def promotion_held(workspace: Path, clock: Clock, override: str = "") -> str:
    """Why it has to wait: the violated SLAs that gate promotion, measured now. Empty when it
    need not. Raises `SlaFileError`."""
    path = workspace / monitor.FILE_NAME
    if not path.exists():
        return ""
    slas = slas_gate.gating_promotion(monitor.read(path).slas.values())
    if not slas:
        return ""
    async with probing.open_prober(workspace, clock) as prober:
        samples = await asyncio.gather(*(prober.sample(sla) for sla in slas))
    ruling = slas_gate.rule("hold", slas, {s.sla: s for s in samples}, override)
    return ruling.why if ruling.action == "hold" else ""
