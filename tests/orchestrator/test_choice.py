"""Holds the choice on executed evidence to account: nobody speaks for himself, and when a person
is asked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.selector import CrossTest, Evidence, Policy, Selection, select

NAMES = ("a", "b", "c", "d", "e")


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[Evidence], list[CrossTest]]:
    """Attempts with everything: checks, tests of theirs and of unknown authors, probes."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=5, unique=True))
    checks = draw(st.integers(0, 2))
    probes = draw(st.integers(0, 4))
    authors = draw(st.lists(st.sampled_from([*names, None]), max_size=5))
    weight = st.sampled_from([0.5, 1.0, 3.0])
    tests = [CrossTest(f"t{i}", author, draw(weight)) for i, author in enumerate(authors)]
    outcome = st.sampled_from([True, False, None])
    digest = st.sampled_from(["x", "y", "z", None])
    measured = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])
    field = [
        Evidence(
            attempt=name,
            usable=draw(st.booleans()),
            acceptance=tuple(draw(st.booleans()) for _ in range(checks)),
            cross=tuple(draw(outcome) for _ in tests),
            behaviour=tuple(draw(digest) for _ in range(probes)),
            coverage=draw(measured),
            quality=draw(measured),
            seconds=draw(measured),
        )
        for name in names
    ]
    return field, tests


def order(chosen: Selection) -> list[str]:
    return [r.attempt for r in chosen.ranking]


def place(chosen: Selection, name: str) -> int:
    return order(chosen).index(name)


def with_test(
    field: list[Evidence], tests: list[CrossTest], test: CrossTest, passers: set[str]
) -> tuple[list[Evidence], list[CrossTest]]:
    wider = [replace(e, cross=(*e.cross, e.attempt in passers)) for e in field]
    return wider, [*tests, test]


class TestNobodySpeaksForHimself:
    @given(rounds(), st.randoms(use_true_random=False))
    def test_the_order_of_attempts_and_of_tests_never_matters(self, given_, random) -> None:
        field, tests = given_
        columns = list(range(len(tests)))
        random.shuffle(columns)
        moved = [replace(e, cross=tuple(e.cross[c] for c in columns)) for e in field]
        random.shuffle(moved)
        again = select(moved, cross_tests=[tests[c] for c in columns])
        assert again == select(field, cross_tests=tests)

    @given(rounds(), st.data())
    def test_an_unusable_attempt_never_reorders_the_others(self, given_, data) -> None:
        field, tests = given_
        model = data.draw(st.sampled_from(field))
        broken = replace(model, attempt="zz", usable=False, seconds=0.0)
        wider = order(select([*field, broken], cross_tests=tests))
        assert [n for n in wider if n != "zz"] == order(select(field, cross_tests=tests))

    @given(rounds(), st.data(), st.integers(1, 5))
    def test_tests_that_only_their_author_passes_change_no_place(self, given_, data, n) -> None:
        field, tests = given_
        author = data.draw(st.sampled_from(field)).attempt
        before = order(select(field, cross_tests=tests))
        for i in range(n):
            field, tests = with_test(field, tests, CrossTest(f"own{i}", author, 9.0), {author})
        assert order(select(field, cross_tests=tests)) == before

    @given(rounds(), st.data(), st.integers(1, 5))
    def test_vacuous_tests_never_raise_their_author(self, given_, data, n) -> None:
        field, tests = given_
        author = data.draw(st.sampled_from(field)).attempt
        before = select(field, cross_tests=tests)
        everyone = {e.attempt for e in field}
        for i in range(n):
            field, tests = with_test(field, tests, CrossTest(f"v{i}", author, 9.0), everyone)
        assert place(select(field, cross_tests=tests), author) >= place(before, author)

    @given(rounds(), st.data())
    def test_deleting_ones_own_tests_never_raises_their_author(self, given_, data) -> None:
        field, tests = given_
        # What an author wants is that its rivals fail its tests, so it passes them itself.
        field = [
            replace(
                e,
                cross=tuple(
                    o or t.author == e.attempt for o, t in zip(e.cross, tests, strict=True)
                ),
            )
            for e in field
        ]
        author = data.draw(st.sampled_from(field)).attempt
        kept = [i for i, t in enumerate(tests) if t.author != author]
        fewer = [replace(e, cross=tuple(e.cross[i] for i in kept)) for e in field]
        before = select(field, cross_tests=tests)
        after = select(fewer, cross_tests=[tests[i] for i in kept])
        assert place(after, author) >= place(before, author)


def test_no_one_can_choose_by_its_tests_which_rule_breaks_a_tie() -> None:
    """Only c's test holds b below the others; without it four would be believed alike."""
    field = [
        Evidence("a", True, (), cross=(False, True, True, True)),
        Evidence("b", True, (), cross=(False, False, True, False)),
        Evidence("c", True, (), cross=(True, True, False, False), quality=0.25),
        Evidence("d", True, (), cross=(True, True, False, False), seconds=0.0),
    ]
    tests = [CrossTest(f"t{i}", author, 0.5) for i, author in enumerate("dcaa")]
    fewer = [replace(e, cross=(e.cross[0], *e.cross[2:])) for e in field]
    before = select(field, cross_tests=tests)
    after = select(fewer, cross_tests=[tests[0], *tests[2:]])
    assert place(after, "c") >= place(before, "c")


def alike(*names: str, answers: str = "1234", **measured: object) -> list[Evidence]:
    return [Evidence(n, True, (True,), behaviour=tuple(answers), **measured) for n in names]  # type: ignore[arg-type]


class TestManyAlike:
    def test_of_four_that_behave_alike_the_middle_wins_and_the_reason_says_so(self) -> None:
        field = [
            replace(e, quality=q)
            for e, q in zip(alike(*"abcd", coverage=1.0), (1.0, 0.5, 0.4, 0.1), strict=True)
        ]
        chosen = select(field)
        assert chosen.winner == "b"
        assert any("nearer to the median score" in r or "ahead of" in r
                   for r in chosen.reasons)  # fmt: skip

    def test_of_three_the_best_score_wins(self) -> None:
        field = [replace(e, quality=q) for e, q in zip(alike(*"abc"), (1.0, 0.5, 0.1), strict=True)]
        assert select(field).winner == "a"

    def test_where_trusted_checks_are_all_that_is_known_the_weights_decide(self) -> None:
        field = [
            Evidence(n, True, (True,), coverage=c / 10)
            for n, c in zip("abcd", range(4), strict=True)
        ]
        assert select(field).winner == "d"


class TestTheSimplestOfMany:
    """Four that agree on half of what they do each: only their looks tell them apart."""

    def differing(self, *qualities: float | None) -> list[Evidence]:
        return [
            Evidence(n, True, (True,), behaviour=("1", "2", "3", f"{n}4", f"{n}5"), quality=q)
            for n, q in zip("abcde", qualities, strict=False)
        ]

    def test_what_looks_better_than_most_of_four_is_believed_less_and_it_is_said(self) -> None:
        chosen = select(self.differing(0.9, 0.5, 0.4, 0.3))
        assert chosen.winner == "c"
        assert order(chosen)[-1] == "a"
        belief = {r.attempt: r.belief for r in chosen.ranking}
        assert belief["a"] < belief["b"] < belief["c"] == belief["d"]  # type: ignore[operator]
        again = select(self.differing(0.9, 0.5, 0.4))
        assert again.winner == "a", "among three the weights decide as documented"

    def test_the_reason_names_it(self) -> None:
        field = self.differing(0.9, 0.5, 0.4, 0.3)
        most = [replace(field[0], attempt=n) for n in ("a", "f", "g")]
        chosen = select([*most, *field[1:]])
        assert chosen.winner in {"a", "f", "g"}, "three that do the same outweigh their looks"
        assert any("looks simpler than most by 0.75" in r for r in chosen.reasons)

    def test_how_many_look_alike_makes_nobody_look_better(self) -> None:
        """The mean of three times 0.1 is not 0.1 in binary."""
        field = self.differing(0.1, 0.1, 0.1, 0.1)
        three = [replace(field[0], attempt=n) for n in ("a", "f", "g")]
        assert not any("simpler" in r for r in select([*three, *field[1:]]).reasons)

    def test_what_was_not_measured_is_neither_for_nor_against(self) -> None:
        measured = select(self.differing(0.5, 0.5, 0.5, 0.5, 0.5)).ranking
        silent = select(self.differing(None, 0.5, 0.5, 0.5, 0.5)).ranking
        assert {r.belief for r in measured} == {r.belief for r in silent}

    def test_an_answer_that_never_varies_and_a_failed_check_are_no_rivals(self) -> None:
        field = self.differing(0.9, 0.5, 0.4)
        stub = Evidence("s", True, (True,), behaviour=("0",) * 5, quality=1.0)
        assert select([*field, stub]).ranking[0].attempt == "a"
        failed = replace(self.differing(0.9, 0.5, 0.4, 0.3)[3], acceptance=(False,), quality=0.99)
        out = {r.attempt: r.belief for r in select([*field, failed]).ranking}
        assert out["d"] == max(b for b in out.values() if b is not None), "looks blame passers only"


class TestWhenAPersonDecides:
    def disagreeing(self) -> list[Evidence]:
        return [e for n, a in zip("abc", ("1234", "5678", "9abc"), strict=True)
                for e in alike(n, answers=a)]  # fmt: skip

    def test_no_consensus_asks_a_person(self) -> None:
        chosen = select(self.disagreeing())
        assert chosen.consensus == 0.0
        assert chosen.needs_review

    def test_unless_the_single_best_is_to_be_taken_and_then_it_is_said(self) -> None:
        chosen = select(self.disagreeing(), policy=Policy(on_no_consensus="best"))
        assert chosen.winner is not None
        assert not chosen.needs_review
        assert any("the single best is taken as configured" in r for r in chosen.reasons)

    def test_the_single_best_is_no_excuse_for_a_missing_trusted_check(self) -> None:
        field = [replace(e, acceptance=()) for e in self.disagreeing()]
        assert select(field, policy=Policy(on_no_consensus="best")).needs_review

    def test_confidence_below_the_setting_asks_a_person(self) -> None:
        field = alike(*"abc")
        sure = select(field).confidence
        assert sure is not None
        below = select(field, policy=Policy(min_confidence=min(1.0, sure + 0.01)))
        assert below.needs_review
        assert any("a person decides" in r for r in below.reasons)
        assert not select(field, policy=Policy(min_confidence=sure - 0.01)).needs_review

    def test_fewer_than_three_have_no_confidence_and_ask_nobody_for_it(self) -> None:
        chosen = select(alike("a", "b"), policy=Policy(min_confidence=0.99))
        assert chosen.confidence is None
        assert not chosen.needs_review

    def test_more_alike_and_more_checks_make_it_surer(self) -> None:
        def sure(names: str, checks: int) -> float:
            field = [replace(e, acceptance=(True,) * checks) for e in alike(*names)]
            found = select(field).confidence
            assert found is not None
            return found

        assert sure("abc", 0) < sure("abcde", 0) < sure("abcde", 3)

    @pytest.mark.parametrize("limit", [-0.1, 1.1])
    def test_impossible_settings(self, limit: float) -> None:
        with pytest.raises(ValueError, match="min_confidence"):
            Policy(min_confidence=limit)
        with pytest.raises(ValueError, match="on_no_consensus"):
            Policy(on_no_consensus="none")  # type: ignore[arg-type]


def test_an_attempt_that_failed_its_exam_has_no_say_about_consensus() -> None:
    def one(name: str, passed: bool, shown: str) -> Evidence:
        return Evidence(name, usable=True, acceptance=(passed,), behaviour=(shown,) * 8)

    pair = [one("a", True, "x"), one("b", True, "x")]
    two = select([*pair, one("c", False, "y")])
    assert two.consensus is None and two.winner == "a" and not two.needs_review
    assert select([*pair, one("c", False, "y"), one("d", True, "x")]).consensus == 1.0
    assert select([*pair, one("c", True, "y")]).needs_review
