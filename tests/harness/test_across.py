"""A round's attempts are compared once, only when there is a choice, and it is all on file."""

import json
from collections.abc import Sequence
from pathlib import Path

from harness import across
from harness.attempt import PATCH
from harness.git import Repository
from harness.record.journal import Journal, read_events
from harness.services import Services
from harness.verify import record
from harness.verify.cross import Crossed, Rival
from orchestrator.errors import SandboxError
from orchestrator.evidence import CrossTest, Evidence
from orchestrator.values import (
    AttemptKey,
    CheckResult,
    Feature,
    FeatureList,
    Project,
    Verification,
)
from orchestrator.verify.probes import Probe
from tests.fakes.checker import Unasked
from tests.fakes.services import services

GIVEN = FeatureList((Feature("f", "Add f.", acceptance=("true",)),), Project(repo="repo"))
KEYS = {key.name: key for key in (AttemptKey("f", 1, n) for n in (1, 2, 3))}
A, B, C = KEYS
FOUND = Crossed(
    tests=(CrossTest(f"{A}:t.py::test_x", A, 2.0),),
    outcomes={A: (True,), B: (False,)},
    probes=(Probe(("from f import f",), "f(1)"),),
    digests={A: ("1",), B: (None,)},
    ran=3,
)


class Compares(Unasked):
    """Answers with `FOUND`, or fails, and remembers what it was given."""

    def __init__(self, error: str = "") -> None:
        self.error = error
        self.given: list[list[Rival]] = []

    async def across(  # type: ignore[override]
        self, key: object, feature: object, base: object, rivals: Sequence[Rival]
    ) -> Crossed:
        self.given.append(list(rivals))
        if self.error:
            raise SandboxError(self.error)
        return FOUND


def attempted(wired: Services, *passed: bool, usable: Sequence[str] = (A, B)) -> list[Evidence]:
    """Evidence of as many attempts, with their files."""
    made = []
    for (name, key), green in zip(KEYS.items(), passed, strict=False):
        folder = wired.attempt_folder(key)
        folder.mkdir(parents=True)
        (folder / PATCH).write_bytes(name.encode())
        seen = Verification(name in usable, (CheckResult("true", green),))
        record.store(folder, seen)
        made.append(record.evidence(name, seen, None))
    return made


async def head(repository: Repository) -> str:
    commit = await repository.commit_of("main")
    assert commit is not None
    return commit


async def test_where_one_passed_there_is_nothing_to_choose(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    wired = services(tmp_path, GIVEN, repository, journal, Unasked())
    evidence = attempted(wired, True, False)
    assert await across.compared(wired, KEYS, evidence, await head(repository)) == (evidence, ())


async def test_it_is_done_once_and_shown_beside_each_attempt(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    checks = Compares()
    wired = services(tmp_path, GIVEN, repository, journal, checks)
    evidence = attempted(wired, True, True, True)
    for _ in range(2):  # as after a crash
        filled, tests = await across.compared(wired, KEYS, evidence, await head(repository))
        assert tests == FOUND.tests
        assert [e.cross for e in filled] == [(True,), (False,), ()]
        assert [e.behaviour for e in filled] == [("1",), (None,), ()]
    # The third is not usable: it takes no part.
    assert checks.given == [[Rival(A, A.encode(), True), Rival(B, B.encode(), True)]]
    folder = wired.attempt_folder(KEYS[B])
    shown = json.loads((folder / record.EVIDENCE).read_bytes())["across"]
    assert shown["tests"] == [{"test": f"{A}:t.py::test_x", "written": 2.0, "passed": False}]
    assert shown["probes"] == [{"probe": "f(1)", "outcome": None}]
    assert record.load(folder) == Verification(True, (CheckResult("true", True),))


async def test_a_sandbox_that_fails_takes_nothing_from_the_choice(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    wired = services(tmp_path, GIVEN, repository, journal, Compares("no space left"))
    evidence = attempted(wired, True, True)
    assert await across.compared(wired, KEYS, evidence, await head(repository)) == (evidence, ())
    (warned,) = (e for e in read_events(journal.path) if e.type == "WarningGiven")
    assert "were not compared: the sandbox failed: no space left" in str(warned)
