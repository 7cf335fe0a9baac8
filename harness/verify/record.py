"""Keeps a verification beside its attempt and turns it into evidence for the selector."""

import json
from dataclasses import asdict
from pathlib import Path

from harness.record import files
from orchestrator.selector import Evidence
from orchestrator.values import CheckResult, Verification

EVIDENCE = "evidence.json"


def store(folder: Path, verification: Verification) -> None:
    """Write `evidence.json` whole or not at all. One that a power cut spoilt is made again."""
    files.replace_json(folder / EVIDENCE, asdict(verification), sync=False)


def load(folder: Path) -> Verification | None:
    """What `store` wrote, None when verification has not ended."""
    try:
        data = json.loads((folder / EVIDENCE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    data["acceptance"] = tuple(CheckResult(**check) for check in data["acceptance"])
    for name in ("regressions", "problems"):
        data[name] = tuple(data[name])
    return Verification(**data)


def evidence(attempt: str, verification: Verification, cost_usd: float | None) -> Evidence:
    """The selector's view. `cross` and `behaviour` stay empty: nothing is run across yet."""
    return Evidence(
        attempt=attempt,
        usable=verification.usable,
        acceptance=tuple(check.passed for check in verification.acceptance),
        coverage=verification.coverage,
        quality=verification.quality,
        seconds=verification.seconds,
        cost_usd=cost_usd,
    )
