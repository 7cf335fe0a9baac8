"""Keeps a verification beside its attempt and turns it into evidence for the selector."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.record import files
from orchestrator.selector import Evidence
from orchestrator.values import CheckResult, Verification

EVIDENCE = "evidence.json"
_FIELDS = frozenset(f.name for f in fields(Verification))


def store(folder: Path, verification: Verification) -> None:
    """Write `evidence.json` whole or not at all. One that a power cut spoilt is made again."""
    files.replace_json(folder / EVIDENCE, asdict(verification), sync=False)


def load(folder: Path) -> Verification | None:
    """What `store` wrote, None when verification has not ended."""
    try:
        data = json.loads((folder / EVIDENCE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    data = {name: value for name, value in data.items() if name in _FIELDS}
    data["acceptance"] = tuple(CheckResult(**check) for check in data["acceptance"])
    for name in ("regressions", "problems"):
        data[name] = tuple(data[name])
    return Verification(**data)


def add(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    """Put what was found out later beside what `store` wrote; `load` passes it over."""
    data = json.loads((folder / EVIDENCE).read_bytes())
    files.replace_json(folder / EVIDENCE, {**data, name: told}, sync=False)


def evidence(attempt: str, verification: Verification, cost_usd: float | None) -> Evidence:
    """The selector's view. `cross` and `behaviour` are of a round: see `harness.across`."""
    return Evidence(
        attempt=attempt,
        usable=verification.usable,
        acceptance=tuple(check.passed for check in verification.acceptance),
        coverage=verification.coverage,
        quality=verification.quality,
        seconds=verification.seconds,
        cost_usd=cost_usd,
    )
