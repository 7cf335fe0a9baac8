"""The choice among a round's attempts, from what is on file of them: for the run that played the
round, and for whoever chooses again later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import across, attempt_result
from harness.exam_texts import setup_scripts
from harness.learn.knowledge import Tried
from harness.services import Services
from harness.verify import record as verification_record
from orchestrator.evidence import Evidence
from orchestrator.runs import plan
from orchestrator.selector import Selection, select
from orchestrator.values import AttemptKey
from orchestrator.verify.manifests import is_manifest
from orchestrator.waves import is_contested


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the attempts of a round came to: `evidence` of those that were verified, `ends` and
    `problems` in words by attempt, `lessons` for the next round, `repaired` repairs in all."""

    evidence: tuple[Evidence, ...]
    ends: Mapping[str, str]
    problems: Mapping[str, Sequence[str]]
    lessons: tuple[str, ...]
    repaired: int


def tried(key: AttemptKey, folder: Path) -> Tried:
    """An attempt as its log folder tells of it."""
    return Tried(key, folder, attempt_result.load(folder), verification_record.load(folder))


def gathered(attempts: Sequence[Tried]) -> Gathered:
    """All that a choice among `attempts` goes by, but for how they compare with each other."""
    evidence: list[Evidence] = []
    lessons: list[str] = []
    ends: dict[str, str] = {}
    problems: dict[str, Sequence[str]] = {}
    repaired = 0
    for one in sorted(attempts, key=lambda t: t.key.name):
        name, result, verification = one.key.name, one.result, one.verification
        if result is None:
            ends[name] = "it never ran"
            continue
        repaired += result.repairs
        if verification is not None:
            evidence.append(verification_record.evidence(name, verification, result.cost_usd))
            problems[name] = verification.problems
        ends[name] = result.reason if result.patch is None else "it could not be verified"
        lessons += plan.lessons_of(result, verification)
    return Gathered(tuple(evidence), ends, problems, tuple(lessons), repaired)


async def choose(
    services: Services, id_: str, keys: Mapping[str, AttemptKey], commit: str, found: Gathered
) -> tuple[Selection, list[Evidence]]:
    """The selection among the attempts `keys` (by name) of one round of the feature, which began
    at `commit`, and the evidence it saw."""
    chosen, seen = await _selected(services, id_, keys, commit, found)
    chosen = plan.in_its_words(chosen, found.ends, found.problems)
    if chosen.winner is not None and services.project.setup is not None:
        manifests = await _manifests(services, keys[chosen.winner], commit)
        chosen = plan.reviewed_setup(chosen, manifests)
    return chosen, seen.evidence


@dataclass(frozen=True, slots=True)
class SoFar:
    """What a choice among those that ended would be worth (`orchestrator.waves.Standing`)."""

    confidence: float | None
    blind: bool
    contested: bool


async def so_far(
    services: Services, id_: str, keys: Mapping[str, AttemptKey], commit: str, found: Gathered
) -> SoFar:
    """Of the same as `choose`, while others of the round are still at work or were not begun."""
    chosen, seen = await _selected(services, id_, keys, commit, found)
    contested = is_contested(chosen, services.project.selection)
    return SoFar(chosen.confidence, seen.blind, contested)


async def _selected(
    services: Services, id_: str, keys: Mapping[str, AttemptKey], commit: str, found: Gathered
) -> tuple[Selection, across.Compared]:
    evidence = list(found.evidence)
    if not services.feature(id_).acceptance:
        evidence = plan.for_a_person(evidence)
    seen = await across.compared(services, keys, evidence, commit)
    policy = services.project.selection
    return select(seen.evidence, cross_tests=seen.tests, policy=policy), seen


async def _manifests(services: Services, key: AttemptKey, commit: str) -> tuple[str, ...]:
    """What the setup command would run anew, with a network, once this attempt is merged."""
    repository = services.repository
    patch = (services.attempt_folder(key) / attempt_result.PATCH).read_bytes()
    tree = await repository.tree_with(commit, patch)
    scripts = await setup_scripts(repository, commit, services.project.setup or "")
    changed = await repository.changed(commit, tree)
    return tuple(p for p in changed if is_manifest(p) or p in scripts)
