"""The verification of an attempt whose agent is through: a sandbox that fails is not its fault."""

from pathlib import Path
from typing import Any

import pytest

from harness import attempt, attempt_result
from harness.git import Repository
from harness.ports import Base
from harness.record.journal import Journal, read_events
from orchestrator.errors import SandboxError
from orchestrator.runs import plan
from orchestrator.values import (
    AttemptKey,
    AttemptResult,
    CheckResult,
    Feature,
    FeatureList,
    Project,
    Verification,
)
from tests.fakes.services import services

KEY = AttemptKey("a", 1, 1)
GREEN = Verification(usable=True, acceptance=(CheckResult("check", True),))
GIVEN = FeatureList((Feature("a", "Add a.", acceptance=("true",)),), Project(repo="repo"))


class Checks:
    """Fails as often as it is told to, then finds everything green."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.patches: list[bytes] = []

    async def base(self, base: Base) -> tuple[str, ...]:
        return ()

    async def patch(
        self, key: AttemptKey, feature: Feature, base: Base, patch: bytes
    ) -> Verification:
        self.patches.append(patch)
        if self.left:
            self.left -= 1
            raise SandboxError("the sandbox died")
        return GREEN

    async def across(
        self, key: object, feature: object, base: object, rivals: object, *, spent: float
    ) -> Any:
        raise AssertionError("nothing is compared here")

    async def tree(self, winner: object, commit: str, parent: str) -> Verification:
        raise AssertionError("nothing is merged here")


@pytest.mark.parametrize(("failures", "passed"), [(0, True), (1, True), (2, False)])
async def test_a_verification_is_repeated_once(
    tmp_path: Path, repository: Repository, journal: Journal, failures: int, passed: bool
) -> None:
    checks = Checks(failures)
    wired = services(tmp_path, GIVEN, repository, journal, checks)
    folder = wired.attempt_folder(KEY)
    result = AttemptResult(KEY, "submitted", "done", turns=2, patch=attempt_result.PATCH)
    attempt_result.store(folder, result)
    (folder / attempt_result.PATCH).write_bytes(b"the patch")
    commit = await repository.commit_of("main")
    assert commit is not None
    said = await attempt.run_attempt(wired, KEY, commit, "haiku")
    assert said["passed"] == passed
    assert checks.patches == [b"the patch"] * min(failures + 1, 2)
    warned = [e for e in read_events(journal.path) if e.type == "WarningGiven"]
    assert len(warned) == min(failures, 1)
    # What could not be verified is no lesson, and is tried again by the next process.
    assert plan.lessons_of(result, None) == ()
    assert not (folder / "evidence.json").exists()


async def test_an_attempt_of_a_decided_round_does_not_begin(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    wired = services(tmp_path, GIVEN, repository, journal, Checks(0))
    wired.attempt_folder(KEY).mkdir(parents=True)
    wired.decide("a", 1)
    said = await attempt.run_attempt(wired, KEY, "c" * 40, "haiku")
    assert (said["ending"], said["passed"]) == ("cancelled", False)
    assert read_events(journal.path) == ()
