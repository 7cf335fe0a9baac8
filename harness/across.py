"""Has the attempts of a round compared on executed behaviour, once, and keeps it beside them.

What came of it is in the feature's folder (`round-N.across.json`), from where a second try takes
it, and in each attempt's `evidence.json`, for whoever asks why an attempt was chosen.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.attempt import PATCH
from harness.record import files
from harness.services import Services
from harness.verify import record
from harness.verify.cross import Crossed, Rival
from orchestrator import events
from orchestrator.errors import SandboxError
from orchestrator.evidence import CrossTest, Evidence
from orchestrator.values import AttemptKey
from orchestrator.verify.probes import Probe


async def compared(
    services: Services, keys: Mapping[str, AttemptKey], evidence: Sequence[Evidence], commit: str
) -> tuple[list[Evidence], tuple[CrossTest, ...]]:
    """`evidence` with `cross` and `behaviour` filled in, and the tests of `cross`.

    Nothing is run when fewer than two attempts passed everything: then there is no choice. A
    sandbox that fails takes nothing away from the choice by what is known already.
    """
    rivals = [e for e in evidence if e.usable]
    if sum(e.passed_all for e in rivals) < 2:
        return list(evidence), ()
    key = keys[rivals[0].attempt]
    path = services.run_folder / key.feature / f"round-{key.round}.across.json"
    found = _load(path, {e.attempt for e in rivals})
    if found is None:
        try:
            found = await services.checker.across(
                key,
                services.feature(key.feature),
                await services.bases.of(commit),
                [_rival(services, keys[e.attempt], full=e.passed_all) for e in rivals],
            )
        except SandboxError as error:
            text = f"{key.feature}: its attempts were not compared: the sandbox failed: {error}"
            services.journal.write(events.WarningGiven(message=text))
            return list(evidence), ()
        files.replace_json(path, asdict(found), sync=False)
        for e in rivals:
            record.add(services.attempt_folder(keys[e.attempt]), "across", _told(found, e.attempt))
    return [_filled(e, found) for e in evidence], found.tests


def _rival(services: Services, key: AttemptKey, *, full: bool) -> Rival:
    return Rival(key.name, (services.attempt_folder(key) / PATCH).read_bytes(), full)


def _filled(e: Evidence, found: Crossed) -> Evidence:
    return replace(
        e,
        cross=found.outcomes.get(e.attempt, ()),
        behaviour=found.digests.get(e.attempt, ()),
    )


def _told(found: Crossed, name: str) -> dict[str, Any]:
    outcomes = found.outcomes.get(name, ())
    digests = found.digests.get(name, ())
    return {
        "tests": [
            {"test": t.id, "written": t.weight, "passed": o}
            for t, o in zip(found.tests, outcomes, strict=False)
        ],
        "probes": [
            {"probe": p.expression, "outcome": d}
            for p, d in zip(found.probes, digests, strict=False)
        ],
    }


def _load(path: Path, names: set[str]) -> Crossed | None:
    """What was found of these very attempts; None when there is nothing that can be read."""
    try:
        data = json.loads(path.read_bytes())
        found = Crossed(
            tests=tuple(CrossTest(**t) for t in data["tests"]),
            outcomes={name: tuple(row) for name, row in data["outcomes"].items()},
            probes=tuple(Probe(tuple(p["imports"]), p["expression"]) for p in data["probes"]),
            digests={name: tuple(row) for name, row in data["digests"].items()},
            ran=data["ran"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if {*found.outcomes, *found.digests} <= names else None
