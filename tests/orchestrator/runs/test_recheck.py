"""What a finished run decided is read from its events, and a later look compared with it."""

from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.runs import recheck
from orchestrator.runs.recheck import PlayedRound
from orchestrator.runs.state import fold
from orchestrator.values import CheckResult, Verification
from tests.orchestrator.run_script import whole_run

SEEN = Verification(
    usable=True,
    acceptance=(CheckResult("a", True), CheckResult("b", False)),
    regressions=("t::old",),
    coverage=0.5,
    quality=None,
    seconds=3.0,
)
ROUND = PlayedRound("f", 1, "c0", ("r1-a01",), "r1-a01", needs_review=False)


def selected(**more: object) -> e.AttemptSelected:
    facts: dict[str, object] = {
        "feature": "f", "attempt": "r1-a01", "round": 1, "score": 0.5, "consensus": None,
        "confidence": None, "needs_review": False, "reasons": (),
    }  # fmt: skip
    return e.AttemptSelected(**{**facts, **more})  # type: ignore[arg-type]


def verified(attempt: str) -> e.VerificationFinished:
    return e.VerificationFinished(
        feature="f", attempt=attempt, usable=True, passed=True, checks_passed=1, checks=1,
        coverage=None, quality=None, seconds=None,
    )  # fmt: skip


def test_rounds_are_read_with_those_among_whom_they_chose() -> None:
    begun = e.RoundStarted(feature="f", round=1, attempts=3, commit="c0")
    happened = (begun, verified("r1-a02"), verified("r1-a01"))
    (old,) = recheck.played_rounds((*happened, selected()))
    assert old == replace(ROUND, among=("r1-a01", "r1-a02"))
    (new,) = recheck.played_rounds((*happened, selected(among=("r1-a01",))))
    assert new == ROUND
    assert list(recheck.begun(happened)) == ["f"]


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (SEEN, []),
        (replace(SEEN, seconds=9.0, problems=("other words",)), []),
        (replace(SEEN, usable=False), ["usable yes before, no now"]),
        (replace(SEEN, coverage=None, quality=0.25), []),
        (replace(SEEN, regressions=()), ["t::old was broken before"]),
        (
            replace(SEEN, regressions=("t::new",)),
            ["t::old was broken before", "t::new is broken now"],
        ),
        (
            replace(SEEN, acceptance=(CheckResult("a", False), CheckResult("b", True))),
            ["`a` passed before, fails now", "`b` failed before, passes now"],
        ),
        (replace(SEEN, acceptance=SEEN.acceptance[:1]), ["2 checks were run before, 1 now"]),
    ],
)
def test_verdicts_are_compared_but_not_their_time_and_words(
    now: Verification, told: list[str]
) -> None:
    found = recheck.verdicts_apart("f/r1-a01", SEEN, now)
    assert list(found) == [f"f/r1-a01: {line}" for line in told]


def test_figures_are_compared_as_far_as_they_mean_anything() -> None:
    assert recheck.measures_apart("x", SEEN, replace(SEEN, coverage=0.50001)) == ()
    assert recheck.measures_apart("x", SEEN, replace(SEEN, coverage=None, quality=0.25)) == (
        "x: coverage 0.5 before, None now",
        "x: quality None before, 0.25 now",
    )


def test_what_fails_now_says_why() -> None:
    worse = replace(SEEN, usable=False, problems=("does not apply", "more"))
    (line,) = recheck.verdicts_apart("x", SEEN, worse)
    assert line == "x: usable yes before, no now (does not apply)"


@pytest.mark.parametrize(
    ("winner", "review", "told"),
    [
        ("r1-a01", False, ()),
        ("r1-a02", False, ("f, round 1: r1-a01 won before, r1-a02 now",)),
        (None, False, ("f, round 1: r1-a01 won before, nobody now",)),
        ("r1-a01", True, ("f, round 1: a person decides now",)),
    ],
)
def test_choices_are_compared(winner: str | None, review: bool, told: tuple[str, ...]) -> None:
    assert recheck.choices_apart(ROUND, winner, needs_review=review) == told


def test_a_run_that_was_played_again_is_compared_by_how_features_ended() -> None:
    before, now = fold(whole_run()), fold(whole_run())
    played = ("disk", "load", "look")
    assert recheck.ends_apart(before, now, played) == recheck.Replayed((), ())
    disk = now.features["disk"]
    other = replace(now, features={**now.features, "disk": replace(disk, winner="r1-a02")})
    found = recheck.ends_apart(before, other, played)
    assert found == recheck.Replayed((), ("disk: merged by r1-a02 now, by r1-a01 before",))
    worse = replace(now, features={**now.features, "disk": replace(disk, state="failed")})
    assert recheck.ends_apart(before, worse, played).differences == (
        "disk: merged before, failed now",
    )
    gone = replace(now, features={"load": now.features["load"]})
    assert recheck.ends_apart(before, gone, ("disk", "load")).differences == (
        "disk: merged before, absent now",
    )
