"""A round's attempts are compared once, only when there is a choice, and it is all on file."""

import json
from collections.abc import Sequence
from pathlib import Path

from harness import across
from harness.attempt_result import PATCH
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
    seconds=7.0,
)


class Compares(Unasked):
    """Answers with `FOUND`, or fails, and remembers what it was given."""

    def __init__(self, error: str = "", found: Crossed = FOUND) -> None:
        self.error = error
        self.found = found
        self.given: list[list[Rival]] = []
        self.spent: list[float] = []

    async def across(  # type: ignore[override]
        self,
        key: object,
        feature: object,
        base: object,
        rivals: Sequence[Rival],
        *,
        spent: float,
    ) -> Crossed:
        self.given.append(list(rivals))
        self.spent.append(spent)
        if self.error:
            raise SandboxError(self.error)
        return self.found


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
    found = await across.compared(wired, KEYS, evidence, await head(repository))
    assert found == across.Compared(evidence)


async def test_it_is_done_once_and_shown_beside_each_attempt(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    checks = Compares()
    wired = services(tmp_path, GIVEN, repository, journal, checks)
    evidence = attempted(wired, True, True, True)
    for _ in range(2):  # as after a crash
        found = await across.compared(wired, KEYS, evidence, await head(repository))
        assert found.tests == FOUND.tests
        assert not found.blind
        assert [e.cross for e in found.evidence] == [(True,), (False,), ()]
        assert [e.behaviour for e in found.evidence] == [("1",), (None,), ()]
    # The third is not usable: it takes no part.
    assert checks.given == [[Rival(A, A.encode(), True), Rival(B, B.encode(), True)]]
    folder = wired.attempt_folder(KEYS[B])
    shown = json.loads((folder / record.EVIDENCE).read_bytes())["across"]
    assert shown["tests"] == [{"test": f"{A}:t.py::test_x", "written": 2.0, "passed": False}]
    assert shown["probes"] == [{"probe": "f(1)", "outcome": None}]
    assert record.load(folder) == Verification(True, (CheckResult("true", True),))


async def test_when_more_have_ended_all_are_compared_anew_in_what_time_is_left(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    checks = Compares()
    wired = services(tmp_path, GIVEN, repository, journal, checks)
    evidence = attempted(wired, True, True, True, usable=(A, B, C))
    commit = await head(repository)
    await across.compared(wired, KEYS, evidence[:2], commit)
    for _ in range(2):
        await across.compared(wired, KEYS, evidence, commit)
    assert [[rival.name for rival in given] for given in checks.given] == [[A, B], [A, B, C]]
    assert checks.spent == [0.0, 7.0]
    kept = json.loads((wired.run_folder / "f" / "round-1.across.json").read_bytes())
    assert kept["seconds"] == 14.0


async def test_where_nothing_was_executed_the_comparison_is_blind(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    wired = services(tmp_path, GIVEN, repository, journal, Compares(found=Crossed(ran=3)))
    evidence = attempted(wired, True, True)
    found = await across.compared(wired, KEYS, evidence, await head(repository))
    assert found == across.Compared(evidence, blind=True)


async def test_a_sandbox_that_fails_takes_nothing_from_the_choice(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    wired = services(tmp_path, GIVEN, repository, journal, Compares("no space left"))
    evidence = attempted(wired, True, True)
    found = await across.compared(wired, KEYS, evidence, await head(repository))
    assert found == across.Compared(evidence)  # and not blind: it was not seen
    (warned,) = (e for e in read_events(journal.path) if e.type == "WarningGiven")
    assert "were not compared: the sandbox failed: no space left" in str(warned)
