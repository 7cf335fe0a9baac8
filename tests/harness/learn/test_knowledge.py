"""A run's knowledge: learned from a round's end, recalled for the next, whatever happens twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.learn import brief
from harness.learn.brief import Brief, without_the_covered
from harness.learn.knowledge import Knowledge, Tried
from harness.learn.reflection import Reflector
from harness.learn.store import PatternStore
from harness.models.gateway import Gateway
from harness.models.recorded import RecordedModel
from harness.record.clock import SystemClock
from harness.record.journal import Journal, read_events
from orchestrator import events
from orchestrator.learning import Recalled
from orchestrator.runs import state
from orchestrator.values import AttemptKey, AttemptResult, Verification
from tests.harness.learn.patterns import FEATURE

RUN = "2026-run"
PROBLEM = "pytest -q: tests/test_p.py::test_one: vps/p.py:7: ValueError: bad stat line 17"
PATCH = b"""diff --git a/vps/p.py b/vps/p.py
--- a/vps/p.py
+++ b/vps/p.py
@@ -1 +1 @@
-x = 1
+x = 2
"""


class Bench:
    """A `Knowledge` over a real journal and store; the state is what the journal was told."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.folder = folder
        self.state = state.RunState()
        self.journal = Journal(folder / "events.jsonl", RUN, clock)
        self.journal.listen(self._hear)
        self.store = PatternStore(folder / "learned_patterns.json", folder / ".lock")
        gateway = Gateway(RecordedModel(folder), clock)
        self.knowledge = Knowledge(
            run=RUN,
            store=self.store,
            journal=self.journal,
            clock=clock,
            state=lambda: self.state,
            reflector=Reflector(gateway, clock, self.journal),
        )
        listed = {FEATURE.id: {"attempts": 5}}
        self.journal.write(events.RunStarted(repo="", branch="", base="", features=listed))
        self.journal.write(events.FeatureStarted(feature=FEATURE.id))

    def _hear(self, event: events.Event) -> None:
        self.state = state.apply(self.state, event)

    def close(self) -> None:
        self.knowledge.close()
        self.journal.close()

    def tried(self, number: int = 1, *problems: str, passed: bool = False) -> Tried:
        """An attempt that ended, on file and in the journal."""
        key = AttemptKey(FEATURE.id, 1, number)
        folder = self.folder / key.name
        folder.mkdir(exist_ok=True)
        (folder / "patch.diff").write_bytes(PATCH)
        at = {"feature": key.feature, "attempt": key.name}
        self.journal.write(events.AttemptStarted(model="m", agent="a", **at))
        self.journal.write(
            events.AttemptFinished(
                ending="submitted", reason="", turns=1, seconds=1, cost_usd=0, patch=True, **at
            )
        )
        self.journal.write(events.VerificationStarted(**at))
        self.journal.write(
            events.VerificationFinished(
                usable=True,
                passed=passed,
                checks_passed=0,
                checks=1,
                coverage=None,
                quality=None,
                seconds=1,
                problems=problems,
                **at,
            )
        )
        verification = Verification(usable=passed, problems=problems)
        return Tried(key, folder, AttemptResult(key, "submitted", ""), verification)

    def count(self, kind: str) -> int:
        return sum(e.type == kind for e in read_events(self.journal.path))


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


async def test_a_failure_becomes_a_pattern_with_its_place(bench):
    await bench.knowledge.learn(FEATURE, [bench.tried(1, PROBLEM)])
    (known,) = bench.store.load().values()
    assert known.signature.message == "bad stat line <n>"
    assert known.signature.test == "tests/test_p.py::test_one"
    assert (known.features, known.files, known.total.hits) == (("probe",), ("vps/p.py",), 1)


async def test_the_same_failure_is_one_pattern_and_learning_twice_counts_once(bench):
    tried = [bench.tried(n, PROBLEM.replace("17", str(n))) for n in (1, 2, 3)]
    for _ in range(2):
        await bench.knowledge.learn(FEATURE, tried)
    (known,) = bench.store.load().values()
    assert known.total.hits == 3
    assert (bench.count("PatternLearned"), bench.count("FailureSigned")) == (1, 3)


async def test_the_next_round_is_told_what_its_verification_said(bench):
    assert await bench.knowledge.recall(FEATURE) == []
    await bench.knowledge.learn(FEATURE, [bench.tried(1, PROBLEM)])
    (told,) = await bench.knowledge.recall(FEATURE)
    assert (told.why, told.met) == ("same failure", ("r1-a01",))
    assert "> seen: r1-a01: pytest -q: tests/test_p.py::test_one" in told.text


async def test_a_refused_merge_teaches_too(bench):
    winner = bench.tried(1, passed=True)
    reason = "probe r1-a01: conflicts in vps/p.py with what was merged since"
    await bench.knowledge.learn_refusal(FEATURE, winner, reason)
    (known,) = bench.store.load().values()
    assert known.signature.kind == "merge-conflict"


async def test_a_file_that_breaks_during_the_run_costs_the_learning_and_not_the_run(bench):
    first = bench.tried(1, PROBLEM)
    await bench.knowledge.learn(FEATURE, [first])
    bench.store.path.write_text("{")
    await bench.knowledge.learn(FEATURE, [first, bench.tried(2, "pytest -q: KeyError: 'x'")])
    assert await bench.knowledge.recall(FEATURE) == []
    assert bench.store.path.read_text() == "{"
    (warning,) = bench.state.warnings
    assert "nothing is learned or recalled until this is mended" in warning


async def test_a_pattern_that_did_not_prove_itself_is_judged_once_and_said(bench):
    await bench.knowledge.learn(FEATURE, [bench.tried(1, PROBLEM)])
    (known,) = bench.store.load().values()
    for n in range(2, 20):
        at = {"feature": FEATURE.id, "attempt": f"r1-a{n:02d}"}
        harmed = n < 12  # shown to ten, who all fail; withheld from eight, who pass
        bench.tried(n, *([PROBLEM] if harmed else []), passed=not harmed)
        bench.journal.write(
            events.PatternUsed(
                pattern=known.id, title=known.title, shown=harmed, why="same scope", **at
            )
        )
    for _ in range(2):
        failed = [bench.tried(n, PROBLEM) for n in range(2, 12)]
        await bench.knowledge.learn(FEATURE, failed)
    (known,) = bench.store.load().values()
    assert known.status == "quarantined"
    assert bench.count("PatternJudged") == 1
    assert await bench.knowledge.recall(FEATURE) == []


# ---------------------------------------------------------------------------------- the brief

TOLD = Recalled("v1-1", "A title", "trial", "> A title", "same scope", ("r1-a01",))


def test_a_brief_is_read_as_it_was_written(tmp_path):
    key = AttemptKey("probe", 2, 1)
    whole = Brief("the repository", ("a lesson",), (TOLD,), 5)
    brief.store(tmp_path, key, whole)
    assert brief.load(tmp_path, replace(key, number=4)) == whole


def test_of_five_one_is_not_told_and_each_attempt_knows_the_same_whenever_it_asks():
    whole = Brief("", (), (TOLD,), 5)
    keys = [AttemptKey("probe", 2, n) for n in range(1, 6)]
    given = [brief.share(RUN, key, whole) for key in keys]
    assert given == [brief.share(RUN, key, whole) for key in keys]
    assert sum(len(one.withheld) for one in given) == 1
    assert all(len(one.shown) + len(one.withheld) == 1 for one in given)
    used = [event for key, one in zip(keys, given, strict=True) for event in brief.used(key, one)]
    assert [e.compared for e in used] == [True] * 5


def test_a_small_round_is_told_all_and_compares_nothing():
    again = replace(TOLD, why="same failure")
    given = brief.share(RUN, AttemptKey("probe", 2, 1), Brief("", (), (again,), 2))
    (event,) = brief.used(AttemptKey("probe", 2, 1), given)
    assert (event.shown, event.compared) == (True, False)


def test_what_a_pattern_stands_for_is_not_told_beside_it():
    lessons = ("r1-a01: pytest: ValueError", "r1-a02: out of turns")
    assert without_the_covered(lessons, [TOLD]) == ("r1-a02: out of turns",)
