"""Whether a pattern helps: who is withheld it, what is counted, and what follows from it."""

import random
from dataclasses import replace

import pytest

from orchestrator import events
from orchestrator.learn import lift
from orchestrator.learn.lift import Arm, Tally, chance_below, is_withheld, judge, quota, tallies
from orchestrator.runs import state
from orchestrator.values import AttemptKey


def withheld(attempts: int, share: float, *, pattern: str = "p", round_: int = 1) -> list[int]:
    keys = [AttemptKey("f", round_, n) for n in range(1, attempts + 1)]
    return [k.number for k in keys if is_withheld(k, "run", attempts, pattern, share)]


@pytest.mark.parametrize(
    ("status", "why", "attempts", "expected"),
    [
        ("trial", "same scope", 1, 0.2),
        ("trial", "same scope", 5, 1.0),
        ("kept", "similar words", 5, 0.5),
        ("trial", "same failure", 4, 0.0),  # nobody of a small round repeats a mistake for science
        ("trial", "same failure", 5, 1.0),
        ("trial", "same failure", 14, 2.0),
        ("trial", "same failure", 15, 3.0),
        ("kept", "same failure", 15, 1.0),
        ("retired", "same scope", 15, 0.0),
    ],
)
def test_how_many_of_a_round_are_not_told(status, why, attempts, expected):
    assert quota(status, why, attempts) == pytest.approx(expected)


def test_the_share_of_a_round_is_exact_and_its_fraction_a_draw():
    assert all(len(withheld(5, 1.0, round_=n)) == 1 for n in range(1, 50))
    drawn = [len(withheld(1, 0.2, round_=n)) for n in range(2000)]
    assert 0.17 < sum(drawn) / len(drawn) < 0.23
    # Which attempt it is differs from pattern to pattern: their comparisons do not mix.
    assert len({tuple(withheld(5, 1.0, pattern=f"p{n}")) for n in range(50)}) == 5


def test_it_is_decided_the_same_whenever_it_is_asked():
    assert withheld(15, 3.0) == withheld(15, 3.0)
    assert withheld(5, 0.0) == []


def test_the_chance_that_one_rate_is_lower_than_another():
    assert chance_below(0, 0, 0, 0) == pytest.approx(0.5, abs=1e-6)
    assert chance_below(3, 10, 7, 10) == pytest.approx(1 - chance_below(7, 10, 3, 10), abs=1e-9)
    assert chance_below(40, 100, 50, 100, 0.05) < chance_below(40, 100, 50, 100)


def sampled(hits, tries, others, other_tries, margin):
    rng = random.Random(7)
    pairs = [
        (
            rng.betavariate(hits + 0.5, tries - hits + 0.5),
            rng.betavariate(others + 0.5, other_tries - others + 0.5),
        )
        for _ in range(20_000)
    ]
    return sum(one + margin < two for one, two in pairs) / len(pairs)


@pytest.mark.parametrize(
    "case",
    [(2, 13, 9, 14, 0.0), (5, 40, 9, 30, 0.05), (60, 90, 10, 30, 0.0), (0, 100, 0, 30, 0.05)],
)
def test_the_chance_agrees_with_drawing_from_both_posteriors(case):
    assert chance_below(*case) == pytest.approx(sampled(*case), abs=0.012)


def tally(shown: tuple[int, int, int], kept_back: tuple[int, int, int]) -> Tally:
    """Each side as tries, passed, repeated."""
    return Tally(0, Arm(*shown), Arm(*kept_back))


@pytest.mark.parametrize(
    ("status", "shown", "kept_back", "verdict"),
    [
        ("trial", (7, 7, 0), (7, 0, 7), None),  # too few to say anything
        ("trial", (40, 38, 1), (12, 2, 9), "kept"),
        ("kept", (40, 38, 1), (12, 2, 9), None),  # as it is
        ("trial", (100, 50, 34), (40, 20, 12), "retired"),
        ("trial", (160, 80, 0), (40, 20, 0), "retired"),  # what it is about does not come back
        ("trial", (100, 30, 0), (25, 14, 0), "quarantined"),  # no use, and rather harmful
        ("kept", (200, 100, 68), (40, 20, 12), "retired"),  # it has stopped to help
        ("trial", (100, 50, 30), (20, 10, 6), None),  # not enough to give it up
        ("trial", (40, 4, 20), (12, 10, 1), "quarantined"),
        ("trial", (60, 10, 0), (20, 16, 12), "quarantined"),  # its failure gone, others come
        ("retired", (40, 38, 1), (12, 2, 9), None),
        ("quarantined", (40, 38, 1), (12, 2, 9), None),
    ],
)
def test_the_verdict(status, shown, kept_back, verdict):
    said = judge(status, tally(shown, kept_back))
    assert (said.status if said else None) == verdict


def test_a_verdict_says_its_figures():
    said = judge("trial", tally((40, 38, 1), (12, 2, 9)))
    assert said is not None
    assert said.why == "failed in this way 1 of 40 with, 9 of 12 without"


# ------------------------------------------------------------------------------------ counting


def ran(*ends: tuple[str, bool, dict[str, bool], tuple[str, ...]]) -> state.RunState:
    """A run of one feature: attempt, whether it passed, patterns shown or not, signatures."""
    log: list[events.Event] = [
        events.RunStarted(repo="", branch="", base="", features={"f": {"attempts": len(ends)}}),
        events.FeatureStarted(feature="f"),
    ]
    for name, passed, patterns, signatures in ends:
        at = {"feature": "f", "attempt": name}
        log.append(events.AttemptStarted(model="m", agent="a", **at))
        log += [
            events.PatternUsed(pattern=p, title=p, shown=shown, why="same scope", **at)
            for p, shown in patterns.items()
        ]
        log.append(
            events.AttemptFinished(
                ending="submitted", reason="", turns=1, seconds=1, cost_usd=0, patch=True, **at
            )
        )
        log.append(events.VerificationStarted(**at))
        log.append(
            events.VerificationFinished(
                usable=True,
                passed=passed,
                checks_passed=int(passed),
                checks=1,
                coverage=None,
                quality=None,
                seconds=1,
                **at,
            )
        )
        log += [events.FailureSigned(signature=s, kind="other", **at) for s in signatures]
    return state.fold(replace(e, run="run", time="2026-01-01T00:00:00+00:00") for e in log)


def test_a_run_is_counted_by_its_events():
    found = tallies(
        ran(
            ("r1-a01", True, {"p": True}, ()),
            ("r1-a02", False, {"p": True}, ("p",)),
            ("r1-a03", False, {"p": False}, ("p", "q")),
            ("r1-a04", False, {"p": False}, ("q",)),
            ("r1-a05", False, {"p": False}, ()),  # failed in no way that has a name: our fault
        )
    )
    assert found["p"] == Tally(2, shown=Arm(2, 1, 1), withheld=Arm(2, 0, 1))
    assert found["q"] == Tally(2)


def test_what_a_person_merged_was_right():
    run = ran(("r1-a01", False, {"p": True}, ()))
    assert tallies(run) == {}
    at = {"feature": "f", "attempt": "r1-a01"}
    for event in (
        events.ReviewRequested(reasons=("no check",), **at),
        events.ReviewResolved(by="me", **at),
        events.FeatureMerged(commit="c", reasons=("accepted by me",), **at),
    ):
        run = state.apply(run, event)
    assert tallies(run)["p"] == Tally(0, shown=Arm(1, 1, 0))


def test_what_could_not_have_been_withheld_is_not_compared():
    at = {"feature": "f", "attempt": "r1-a01"}
    run = ran(("r1-a01", True, {}, ()))
    told = events.PatternUsed(
        pattern="p", title="p", shown=True, compared=False, why="same failure", **at
    )
    assert tallies(state.apply(run, told)) == {}


def test_tallies_add_up():
    one = Tally(1, Arm(2, 1, 1), Arm(1, 0, 1))
    assert one + one + Tally() == Tally(2, Arm(4, 2, 2), Arm(2, 0, 2))
    assert lift.SHARES["kept"] < lift.SHARES["trial"]
