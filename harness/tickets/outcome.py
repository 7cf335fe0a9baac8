"""What came of a ticket's run: which attempt is handed over, and what is said of it."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.attempt_result import PATCH
from harness.git import Repository, open_repository
from harness.tickets.artifact import HandOver
from harness.tickets.case import Case, Place, folder_of
from harness.tickets.proof import Claims, Proof, proof
from orchestrator import cost
from orchestrator.tickets.comments import WITH_PATCH, Outcome

_ENDS: dict[int, Outcome] = {1: "failed", 2: "unable", 4: "limit", 5: "unable"}


@dataclass(frozen=True, slots=True)
class Result:
    """An artifact to be, and what the patch's own tests have shown."""

    made: HandOver
    patch: bytes = b""
    proof: Proof = field(default_factory=Proof)


async def outcome(case: Case, place: Place, code: int) -> Result:
    """What to hand over of a run that ended with an exit code of `fibreflow run`."""
    runs = sorted((folder_of(case, place) / "logs").glob("*/report.json"), reverse=True)
    # The newest that worked on it: a later one may have found it merged already.
    reports = [(path.parent, json.loads(path.read_bytes())) for path in runs]
    run, report = next((r for r in reports if r[1]["features"]), (None, None))
    features = (report or {}).get("features", ())
    feature = next((f for f in features if f["id"] == case.feature), None)
    if run is None or report is None or feature is None:
        reasons = (f"exit code {code}",)
        return Result(
            case.hand_over(_ENDS.get(code, "failed"), reasons=reasons, cost_usd=case.cost_usd)
        )
    for name in ("report.md", "report.json"):
        await asyncio.to_thread(shutil.copy, run / name, place.out / name)
    repository = await open_repository(place.checkout)
    names = _candidates(case, feature)
    patches = [await _patch(case, repository, run, {**feature, "attempt": n}) for n in names]
    ended: Outcome = _ENDS.get(code, "failed")
    if feature["state"] in {"merged", "review"}:
        with_patch: Outcome = "patch" if feature["state"] == "merged" else "review"
        ended = with_patch if patches[0] else "nothing"
    if ended not in WITH_PATCH:
        return Result(_told(case, ended, report, feature))
    log = folder_of(case, place) / "proof.log"
    claims = Claims(case.name, place.checkout.resolve(), case.base, patches, case.bug, log)
    found = await proof(claims, case.settings, place.sandbox)
    made = _told(case, ended, report, {**feature, **_instead(names, found.index)})
    more = {
        "evidence": (*found.shown, *made.evidence),
        "unverified": (*found.lacking, *made.unverified),
    }
    return Result(made.model_copy(update=more), patches[found.index], found)


def _candidates(case: Case, feature: dict[str, Any]) -> list[str]:
    """The attempt that was chosen; for a bug that a person judges, the other usable ones too."""
    first = [feature["attempt"]]
    if not case.bug or feature["state"] != "review":
        return first
    usable = [a["name"] for a in feature["attempts"] if a["state"] == "unjudged"]
    return [*first, *(name for name in usable if name not in first)]


def _instead(names: Sequence[str], index: int) -> dict[str, Any]:
    """What of a feature's report is otherwise when another attempt is handed over."""
    if index == 0:
        return {}
    why = f"{names[index]}: its test fails without the change; those of {names[0]} show no bug"
    return {"attempt": names[index], "reasons": [why]}


async def _patch(case: Case, repository: Repository, run: Path, feature: dict[str, Any]) -> bytes:
    """What was merged, or the attempt that a person should look at first."""
    if feature["state"] == "merged" and feature["commit"]:
        # By a file: the bytes of a patch need not be text.
        whole = run / "merged.diff"
        await repository.git(
            "diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv",
            "--no-renames", f"--output={whole.resolve()}", case.base, feature["commit"], "--",
        )  # fmt: skip
        return await asyncio.to_thread(whole.read_bytes)
    if feature["state"] == "review" and feature["attempt"]:
        path = run / feature["id"] / feature["attempt"] / PATCH
        return await asyncio.to_thread(path.read_bytes) if path.is_file() else b""
    return b""


def _told(
    case: Case, outcome: Outcome, report: dict[str, Any], feature: dict[str, Any]
) -> HandOver:
    chosen = next((a for a in feature["attempts"] if a["name"] == feature["attempt"]), None)
    evidence, unverified = _evidence(case, chosen)
    reasons = [*feature["reasons"], *feature["refusals"], *report["limits"]]
    run_usd = report["cost_usd"] if report["cost_complete"] else None
    spent = cost.total((case.cost_usd, run_usd))
    return case.hand_over(
        outcome,
        reasons=tuple(str(r)[:500] for r in reasons[:10]), evidence=evidence,
        unverified=unverified, attempt=str(feature["attempt"] or ""),
        cost_usd=None if spent is None else round(spent, 6),
    )  # fmt: skip


def _evidence(case: Case, chosen: dict[str, Any] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if chosen is None:
        return (), ()
    seen, open_ = [], [*chosen["problems"]]
    if chosen["checks"]:
        seen.append(f"{chosen['checks_passed']} of {chosen['checks']} trusted checks passed")
    if case.settings.test:
        seen.append(f"no test of the project ({case.settings.test}) that passed before fails now")
    else:
        open_.append("no test command is set (.github/fibreflow.yaml), so no test was run")
    if chosen["coverage"] is not None:
        seen.append(f"{chosen['coverage']:.0%} of the changed lines are run by tests")
    return tuple(seen), tuple(str(o)[:500] for o in open_)
