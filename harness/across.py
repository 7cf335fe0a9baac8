"""Has the attempts of a round compared on executed behaviour, once, and keeps it beside them.

What came of it is in the feature's folder (`round-N.across.json`), from where a second try with
the same attempts takes it, and in each attempt's `evidence.json`, for whoever asks why an attempt
was chosen. When more of the round have ended, all are compared anew, in the seconds left of those
that the round has for it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.attempt_result import PATCH
from harness.record import files
from harness.services import Services
from harness.verify import record
from harness.verify.cross import Crossed, Rival
from orchestrator import events
from orchestrator.errors import SandboxError
from orchestrator.evidence import CrossTest, Evidence
from orchestrator.values import AttemptKey
from orchestrator.verify.probes import Probe


@dataclass(frozen=True, slots=True)
class Compared:
    """`evidence` with `cross` and `behaviour` filled in, and the `tests` of `cross`. `blind`: it
    was tried, and nothing was executed that tells the attempts apart."""

    evidence: list[Evidence]
    tests: tuple[CrossTest, ...] = ()
    blind: bool = False


async def compared(
    services: Services, keys: Mapping[str, AttemptKey], evidence: Sequence[Evidence], commit: str
) -> Compared:
    """The attempts `keys` of one round, which began at `commit`, compared with each other.

    Nothing is run when fewer than two attempts passed everything: then there is no choice. A
    sandbox that fails takes nothing away from the choice by what is known already.
    """
    rivals = [e for e in evidence if e.usable]
    if sum(e.passed_all for e in rivals) < 2:
        return Compared(list(evidence))
    key = keys[rivals[0].attempt]
    path = services.run_folder / key.feature / f"round-{key.round}.across.json"
    among = sorted(e.attempt for e in rivals)
    found, spent = _load(path, among)
    if found is None:
        try:
            found = await services.checker.across(
                key,
                services.feature(key.feature),
                await services.bases.of(commit),
                [_rival(services, keys[e.attempt], full=e.passed_all) for e in rivals],
                spent=spent,
            )
        except SandboxError as error:
            text = f"{key.feature}: its attempts were not compared: the sandbox failed: {error}"
            services.journal.write(events.WarningGiven(message=text))
            return Compared(list(evidence))
        found = replace(found, seconds=spent + found.seconds)
        files.replace_json(path, {**asdict(found), "among": among}, sync=False)
        for e in rivals:
            told = _told(found, e.attempt)
            if any(told.values()):
                record.add(services.attempt_folder(keys[e.attempt]), "across", told)
    blind = not found.tests and not found.probes
    return Compared([_filled(e, found) for e in evidence], found.tests, blind)


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


def _load(path: Path, among: Sequence[str]) -> tuple[Crossed | None, float]:
    """What was found of these very attempts, None when nothing that can be read was; and the
    seconds that all comparisons of the round took."""
    try:
        data = json.loads(path.read_bytes())
        found = Crossed(
            tests=tuple(CrossTest(**t) for t in data["tests"]),
            outcomes={name: tuple(row) for name, row in data["outcomes"].items()},
            probes=tuple(Probe(tuple(p["imports"]), p["expression"]) for p in data["probes"]),
            digests={name: tuple(row) for name, row in data["digests"].items()},
            ran=data["ran"],
            seconds=data["seconds"],
        )
        same = data["among"] == among
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0.0
    return (found if same else None), found.seconds
