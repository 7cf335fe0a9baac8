"""The choice of a round follows what the feature list says of it."""

from pathlib import Path

from harness import choice
from harness.git import Repository
from harness.record.journal import Journal
from orchestrator.evidence import Evidence
from orchestrator.selection import Policy
from orchestrator.values import AttemptKey, Feature, FeatureList, Project
from tests.fakes.checker import Unasked
from tests.fakes.services import services

EXAM = Feature("f", "Add f.", acceptance=("true",))
TRIED = (
    Evidence("r1-a01", True, (True,), coverage=1.0, quality=0.5, cost_usd=1.0),
    Evidence("r1-a02", False, (), coverage=0.5, quality=1.0),
)


async def test_the_policy_of_the_list_is_followed(
    tmp_path: Path, repository: Repository, journal: Journal
) -> None:
    scores = {}
    for quality in (0.0, 100.0):
        policy = Policy(coverage=100.0, tests=0.0, quality=quality, speed=0.0)
        given = FeatureList((EXAM,), Project(repo="repo", selection=policy))
        wired = services(tmp_path, given, repository, journal, Unasked())
        keys = {e.attempt: AttemptKey("f", 1, n) for n, e in enumerate(TRIED, start=1)}
        found = choice.Gathered(TRIED, {}, {}, (), 0)
        chosen, _ = await choice.choose(wired, "f", keys, "main", found)
        assert chosen.winner == "r1-a01"
        scores[quality] = chosen.ranking[0].score
    assert scores == {0.0: 1.0, 100.0: 0.75}
