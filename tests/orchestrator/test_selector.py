"""The selector: gates, weights, ties, consensus and reasons, then properties that always hold."""

import copy
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.selector import CrossTest, Evidence, Policy, select


def attempt(name: str, *acceptance: bool, usable: bool = True, **measured: object) -> Evidence:
    return Evidence(name, usable, acceptance, **measured)  # type: ignore[arg-type]


def scores(*evidence: Evidence, **more: object) -> dict[str, float]:
    return {r.attempt: r.score for r in select(evidence, **more).ranking}  # type: ignore[arg-type]


class TestGates:
    def test_no_attempt_has_no_winner_and_needs_nobody(self) -> None:
        chosen = select([])
        assert (chosen.winner, chosen.ranking, chosen.needs_review) == (None, (), False)
        assert chosen.reasons == ("no attempt to choose from",)

    def test_an_unusable_attempt_loses_to_a_poorer_usable_one(self) -> None:
        broken = attempt("a01", True, usable=False, coverage=1.0, quality=1.0, seconds=0.1)
        poor = attempt("a02", True, coverage=0.0, quality=0.0, seconds=9.0)
        chosen = select([broken, poor])
        assert chosen.winner == "a02"
        assert "a01 is out: not usable" in chosen.reasons

    def test_one_more_trusted_check_beats_every_weight(self) -> None:
        half = attempt("a01", True, False, coverage=1.0, quality=1.0, seconds=0.1)
        whole = attempt("a02", True, True, coverage=0.0, quality=0.0, seconds=9.0)
        chosen = select([half, whole])
        assert [r.attempt for r in chosen.ranking] == ["a02", "a01"]
        assert chosen.winner == "a02"
        assert "a01 is out: passed 1 of 2 trusted checks" in chosen.reasons

    def test_the_best_partial_is_named_but_never_wins(self) -> None:
        chosen = select([attempt("a01", False, False), attempt("a02", True, False)])
        assert chosen.winner is None
        assert not chosen.needs_review
        assert "the best, a02, passed 1 of 2" in chosen.reasons[0]

    def test_all_unusable_says_so(self) -> None:
        chosen = select([attempt("a01", usable=False), attempt("a02", usable=False)])
        assert chosen.winner is None
        assert chosen.reasons[0] == "no attempt is usable"

    def test_without_trusted_checks_the_best_is_proposed_to_a_person(self) -> None:
        chosen = select([attempt("a01", coverage=0.2), attempt("a02", coverage=0.9)])
        assert chosen.winner == "a02"
        assert chosen.needs_review
        assert any("no trusted check" in r for r in chosen.reasons)

    def test_an_unusable_attempt_may_leave_its_checks_empty(self) -> None:
        assert select([attempt("a01", usable=False), attempt("a02", True)]).winner == "a02"


class TestWeights:
    def test_the_documented_weights(self) -> None:
        e = attempt("a01", True, coverage=0.5, quality=0.25, seconds=3.0)
        assert scores(e)["a01"] == pytest.approx(0.40 * 0.5 + 0.30 * 1 + 0.20 * 0.25 + 0.10 * 1)

    def test_unmeasured_is_left_out_of_the_weights(self) -> None:
        assert scores(attempt("a01", True, coverage=0.5))["a01"] == pytest.approx(
            (40 * 0.5 + 30) / 70
        )

    def test_unmeasured_beats_a_measured_zero(self) -> None:
        zero = attempt("a01", True, coverage=0.0)
        unknown = attempt("a02", True)
        assert select([zero, unknown]).winner == "a02"

    def test_nothing_measured_shows_no_components(self) -> None:
        (only,) = select([attempt("a01")]).ranking
        assert only.components == ()

    def test_speed_is_relative_to_the_fastest_full_passer_and_speaks_for_no_other(self) -> None:
        policy = Policy(coverage=0, tests=0, quality=0, speed=1)
        crashed = attempt("a03", usable=False, seconds=0.001)
        got = scores(
            attempt("a01", True, seconds=2.0),
            attempt("a02", True, seconds=8.0),
            crashed,
            policy=policy,
        )
        assert got["a01"] == 1.0
        assert got["a02"] == 0.25
        assert got["a03"] == 0.0

    def test_zero_seconds_divides_nothing(self) -> None:
        policy = Policy(coverage=0, tests=0, quality=0, speed=1)
        got = scores(
            attempt("a", True, seconds=0.0), attempt("b", True, seconds=1.0), policy=policy
        )
        assert got == {"a": 1.0, "b": 0.0}

    def test_cross_tests_count_by_weight_among_the_tests(self) -> None:
        pool = (CrossTest("t1", "x", 3.0), CrossTest("t2", "y"))
        e = attempt("a01", True, cross=(False, True))
        got = scores(e, cross_tests=pool, policy=Policy(coverage=0, quality=0, speed=0))
        assert got["a01"] == pytest.approx(2 / 5)

    def test_an_attempts_own_tests_do_not_speak_for_it(self) -> None:
        pool = (CrossTest("t1", "a01", 100.0), CrossTest("t2", "a02"))
        first = attempt("a01", True, cross=(True, False))
        second = attempt("a02", True, cross=(None, True))
        assert scores(first, second, cross_tests=pool) == {"a01": 0.5, "a02": 1.0}

    def test_a_test_that_was_not_run_counts_neither_way(self) -> None:
        pool = (CrossTest("t1", None), CrossTest("t2", None))
        assert scores(attempt("a01", True, cross=(None, True)), cross_tests=pool)["a01"] == 1.0

    def test_the_policy_can_be_changed(self) -> None:
        a = attempt("a01", True, coverage=1.0, quality=0.0)
        b = attempt("a02", True, coverage=0.0, quality=1.0)
        assert select([a, b]).winner == "a01"
        assert select([a, b], policy=Policy(coverage=20, quality=40)).winner == "a02"


class TestTies:
    def test_the_cheaper_of_equals_wins_and_the_reason_says_so(self) -> None:
        chosen = select([attempt("a01", True, cost_usd=0.02), attempt("a02", True, cost_usd=0.01)])
        assert chosen.winner == "a02"
        assert "tie with a01 broken by cost $0.01 < $0.02" in chosen.reasons

    def test_unknown_cost_is_not_free(self) -> None:
        chosen = select([attempt("a01", True), attempt("a02", True, cost_usd=5.0)])
        assert chosen.winner == "a02"
        assert "tie with a01 broken by cost $5 < unknown" in chosen.reasons

    def test_the_name_decides_last(self) -> None:
        chosen = select([attempt("b", True), attempt("a", True)])
        assert chosen.winner == "a"
        assert any("broken by name" in r for r in chosen.reasons)

    def test_a_better_score_beats_a_lower_cost(self) -> None:
        dear = attempt("a01", True, coverage=0.9, cost_usd=9.0)
        cheap = attempt("a02", True, coverage=0.8, cost_usd=0.1)
        assert select([dear, cheap]).winner == "a01"


class TestConsensus:
    def test_none_below_three_attempts(self) -> None:
        pair = [attempt("a", True, behaviour=("1",)), attempt("b", True, behaviour=("2",))]
        chosen = select(pair)
        assert chosen.consensus is None
        assert not chosen.needs_review

    def test_none_without_executed_behaviour(self) -> None:
        assert select([attempt(n, True) for n in "abc"]).consensus is None
        three = [attempt(n, True, behaviour=(None, None)) for n in "abc"]
        assert select(three).consensus is None

    def test_mean_pairwise_over_shared_probes(self) -> None:
        three = [
            attempt("a", True, behaviour=("1", "1", None)),
            attempt("b", True, behaviour=("1", "2", "3")),
            attempt("c", True, behaviour=("1", "1", "4")),
        ]
        # a-b agree on 1 of 2, a-c on 2 of 2, b-c on 1 of 3.
        assert select(three).consensus == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)

    def test_low_consensus_asks_a_person(self) -> None:
        three = [attempt(n, True, behaviour=(n,)) for n in "abc"]
        chosen = select(three)
        assert chosen.consensus == 0.0
        assert chosen.winner == "a"
        assert chosen.needs_review
        assert any("below 70%" in r for r in chosen.reasons)

    def test_full_consensus_does_not(self) -> None:
        chosen = select([attempt(n, True, behaviour=("same",)) for n in "abc"])
        assert chosen.consensus == 1.0
        assert not chosen.needs_review

    def test_exactly_the_limit_is_enough(self) -> None:
        base = tuple("0123456789")
        other = (*base[:7], "x", "y", "z")
        third = [attempt("a", True, behaviour=base), attempt("b", True, behaviour=base)]
        chosen = select(
            [*third, attempt("c", True, behaviour=other)], policy=Policy(min_consensus=0.8)
        )
        assert chosen.consensus == pytest.approx(0.8)
        assert not chosen.needs_review

    def test_leaders_that_behave_alike_support_each_other(self) -> None:
        loner = attempt("a", True, behaviour=("x", "y"), coverage=1.0)
        pair = [attempt(n, True, behaviour=("p", "q"), coverage=0.5) for n in "bc"]
        chosen = select([loner, *pair])
        assert chosen.winner == "b"

    def test_a_failing_crowd_does_not_outvote_the_trusted_check(self) -> None:
        right = attempt("z", True, behaviour=("x",))
        crowd = [attempt(n, False, behaviour=("p",)) for n in "abcd"]
        assert select([right, *crowd]).winner == "z"

    def test_confidence_is_left_unsaid(self) -> None:
        assert select([attempt("a", True)]).confidence is None


class TestReasons:
    def test_words_and_numbers(self) -> None:
        chosen = select([attempt("a01", True, coverage=0.9, quality=0.8)])
        assert chosen.reasons[0] == (
            "a01 won 0.91: coverage 0.90 x 40, tests 1.00 x 30, quality 0.80 x 20"
        )
        assert "not measured, and left out of the weights: speed" in chosen.reasons


class TestBadEvidence:
    def test_an_attempt_named_twice(self) -> None:
        with pytest.raises(ValueError, match=r"more than once.*a01"):
            select([attempt("a01", True), attempt("a01", True)])

    def test_different_numbers_of_checks(self) -> None:
        with pytest.raises(ValueError, match="a01 has 1, a02 has 2"):
            select([attempt("a01", True), attempt("a02", True, True)])

    def test_different_numbers_of_probes(self) -> None:
        with pytest.raises(ValueError, match="behaviour probes"):
            select([attempt("a", behaviour=("1",)), attempt("b", behaviour=("1", "2"))])

    def test_cross_outcomes_without_their_tests(self) -> None:
        with pytest.raises(ValueError, match="1 cross outcomes for 0 cross tests"):
            select([attempt("a", cross=(True,))])

    @pytest.mark.parametrize("value", [math.nan, math.inf, -0.1])
    @pytest.mark.parametrize("name", ["coverage", "quality", "seconds", "cost_usd"])
    def test_impossible_numbers(self, name: str, value: float) -> None:
        with pytest.raises(ValueError, match=f"attempt a01: {name}"):
            select([attempt("a01", True, **{name: value})])

    @pytest.mark.parametrize("weight", [math.nan, -1.0])
    def test_impossible_weights(self, weight: float) -> None:
        with pytest.raises(ValueError, match="cross test t"):
            select([attempt("a")], cross_tests=[CrossTest("t", None, weight)])
        with pytest.raises(ValueError, match="weights"):
            Policy(speed=weight)

    def test_weights_that_are_all_zero(self) -> None:
        with pytest.raises(ValueError, match="all zero"):
            Policy(0, 0, 0, 0)

    def test_an_impossible_limit(self) -> None:
        with pytest.raises(ValueError, match="min_consensus"):
            Policy(min_consensus=1.5)


share = st.none() | st.floats(0, 1)
amount = st.none() | st.floats(0, 1e6)


@st.composite
def fields_of_attempts(
    draw: st.DrawFn, *, probes: bool = True, least_checks: int = 0
) -> list[Evidence]:
    checks = draw(st.integers(least_checks, 3))
    probe_count = draw(st.integers(0, 3)) if probes else 0
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True))
    digest = st.none() | st.sampled_from("xyz")
    return [
        Evidence(
            attempt=name,
            usable=draw(st.booleans()),
            acceptance=tuple(draw(st.booleans()) for _ in range(checks)),
            behaviour=tuple(draw(digest) for _ in range(probe_count)),
            coverage=draw(share),
            quality=draw(share),
            seconds=draw(amount),
            cost_usd=draw(amount),
        )
        for name in names
    ]


class TestProperties:
    @given(fields_of_attempts(), st.randoms(use_true_random=False))
    def test_order_of_evidence_never_matters(self, field, random) -> None:
        shuffled = list(field)
        random.shuffle(shuffled)
        assert select(shuffled) == select(field)

    @given(fields_of_attempts())
    def test_who_wins_was_usable_and_failed_nothing(self, field) -> None:
        chosen = select(field)
        by_name = {e.attempt: e for e in field}
        if chosen.winner is None:
            assert not any(e.usable and all(e.acceptance) for e in field)
        else:
            assert by_name[chosen.winner].usable
            assert all(by_name[chosen.winner].acceptance)
            assert chosen.winner == chosen.ranking[0].attempt

    @given(fields_of_attempts())
    def test_everyone_is_ranked_once_and_scores_are_shares(self, field) -> None:
        chosen = select(field)
        assert sorted(r.attempt for r in chosen.ranking) == sorted(e.attempt for e in field)
        assert all(0 <= r.score <= 1 for r in chosen.ranking)
        assert chosen.consensus is None or 0 <= chosen.consensus <= 1

    @given(fields_of_attempts())
    def test_nothing_is_changed_and_the_answer_is_repeated(self, field) -> None:
        before = copy.deepcopy(field)
        assert select(field) == select(field)
        assert field == before

    @given(fields_of_attempts(probes=False, least_checks=1), st.data())
    def test_a_strictly_worse_attempt_changes_no_winner(self, field, data) -> None:
        chosen = select(field)
        model = data.draw(st.sampled_from(field))
        worse = replace(
            model,
            attempt="zz",
            coverage=None if model.coverage is None else model.coverage / 2,
            quality=None if model.quality is None else model.quality / 2,
            seconds=None if model.seconds is None else model.seconds * 2,
            cost_usd=None if model.cost_usd is None else model.cost_usd * 2,
        )
        assert select([*field, worse]).winner == chosen.winner

    @given(fields_of_attempts(), st.integers(0, 5))
    def test_an_unusable_attempt_changes_no_winner(self, field, checks) -> None:
        count = len(field[0].acceptance)
        broken = Evidence("zz", False, (True,) * count, seconds=0.0, cost_usd=0.0)
        assert select([*field, broken]).winner == select(field).winner
