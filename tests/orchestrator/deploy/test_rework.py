"""A rejection with its reason becomes a feature that the next run works on."""

from dataclasses import replace

from orchestrator.deploy.course import Deployment
from orchestrator.deploy.rework import foreseen, with_rework
from orchestrator.values import Feature, FeatureList

GIVEN = FeatureList(
    (
        Feature("a", "x", acceptance=("test 1", "test 2")),
        Feature("b", "y", acceptance=("test 2", "test 3"), depends_on=("a",)),
    )
)
ONE = Deployment(
    "0001-cafe", "r", "c" * 40, "d" * 64, "alice", answer="rejected", reason="too loud"
)


def test_its_task_is_the_reason_and_all_else_has_to_stay() -> None:
    *_, made = with_rework(GIVEN, [ONE]).features
    assert made.id == "rework-0001"
    assert made.description.startswith("too loud\n")
    assert made.depends_on == ("a", "b")
    assert made.acceptance == ("test 1", "test 2", "test 3")


def test_only_rejections_count_and_each_once_in_their_order() -> None:
    second = replace(ONE, id="0003-beef", reason="too slow")
    others = [replace(ONE, id="0002-f", answer=""), replace(ONE, id="0004-e", answer="expired")]
    found = with_rework(GIVEN, [second, *others, ONE])
    assert [f.id for f in found.features] == ["a", "b", "rework-0001", "rework-0003"]
    assert found.features[-1].depends_on == ("a", "b", "rework-0001")
    assert with_rework(found, [ONE]) == found


def test_what_a_reason_would_become_is_known_before() -> None:
    assert foreseen(GIVEN, "0001", " too loud ") == with_rework(GIVEN, [ONE])


def test_without_a_rejection_nothing_changes() -> None:
    assert with_rework(GIVEN, []) == GIVEN
