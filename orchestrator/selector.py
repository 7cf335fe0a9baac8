"""Chooses among a feature's attempts: evidence in, one selection with its reasons out.

Lexicographic first, weighted second:

1. usable attempts before unusable ones;
2. more trusted acceptance checks passed; only an attempt that passes all of them can win;
3. among attempts equal so far, the belief that an attempt is right, from agreement on executed
   probes and cross-run tests (`orchestrator.belief`);
4. among four or more that behave alike, the weighted score nearest to their median: whoever is
   the shortest or fastest of many has more often left something out;
5. the weighted score, 40 coverage, 30 tests, 20 quality, 10 speed, over what was measured;
   quality and speed speak only for attempts that passed every trusted check;
6. the cheaper attempt (unknown cost last), then the attempt's name.

Every step is there because it chooses right more often on real outputs than the order without
it (`benchmarks/selection.py`, docs/selection.md).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import median

from orchestrator.belief import PRECISION, Opinion, believe, confidence, shown
from orchestrator.choice_reasons import why
from orchestrator.evidence import CrossTest, Evidence, alike, validate
from orchestrator.selection import Policy, Ranked, Selection

__all__ = ["CrossTest", "Evidence", "Policy", "Ranked", "Selection", "select"]

#: The documented rule speaks of the top three; fewer say nothing about consensus, and the
#: probability that the winner is right was calibrated on three or more.
TOP = 3
#: Of so many alike the middle is telling; of fewer the extremes are nearly all there is.
MANY = 4
_DEFAULT = Policy()


def select(
    evidence: Sequence[Evidence],
    *,
    cross_tests: Sequence[CrossTest] = (),
    policy: Policy = _DEFAULT,
) -> Selection:
    """The best attempt by the rule above; the order of `evidence` never matters.

    Raises `ValueError` for evidence that contradicts itself: an attempt named twice, vectors
    of different lengths, a number that is not finite or outside its range.
    """
    validate(evidence, cross_tests)
    opinions = believe(evidence, cross_tests)
    ranking = _rank(evidence, cross_tests, opinions, policy)
    by_name = {e.attempt: e for e in evidence}
    winner = ranking[0] if ranking and by_name[ranking[0].attempt].passed_all else None
    consensus = _consensus([by_name[r.attempt] for r in ranking])
    opinion = opinions.get(winner.attempt) if winner and len(evidence) >= TOP else None
    known = winner is not None and opinion is not None and opinion.executed
    sure = confidence(opinion, winner.checks) if known and winner and opinion else None
    asks, reasons = why(ranking, opinions, consensus, sure, policy)
    return Selection(
        winner=winner.attempt if winner else None,
        ranking=ranking,
        consensus=consensus,
        confidence=sure,
        needs_review=winner is not None and asks,
        reasons=reasons,
    )


def _rank(
    evidence: Sequence[Evidence],
    cross_tests: Sequence[CrossTest],
    opinions: Mapping[str, Opinion],
    policy: Policy,
) -> tuple[Ranked, ...]:
    # Only full passers set the pace: an attempt that crashed at once is the fastest of all.
    paces = [e.seconds for e in evidence if e.passed_all and e.seconds is not None]
    fastest = min(paces, default=None)
    contestants = {e.attempt for e in evidence}
    placed = []
    for e in evidence:
        parts = _components(e, cross_tests, fastest)
        opinion = opinions.get(e.attempt)
        ranked = Ranked(
            attempt=e.attempt,
            score=_score(parts, policy),
            usable=e.usable,
            passed=sum(e.acceptance),
            checks=len(e.acceptance),
            agreement=opinion.agreement if opinion else None,
            components=tuple(parts.items()),
            cost_usd=e.cost_usd,
            belief=opinion.score if opinion else None,
        )
        # A contestant's tests would count for or against its rivals alone, so that deleting
        # them could win a tie; what they are worth is in the belief already.
        fair = {**parts, "tests": _tests(e, cross_tests, contestants)}
        measured = {name: share for name, share in fair.items() if share is not None}
        placed.append((ranked, _score(measured, policy)))
    middles = _middles(placed, evidence, cross_tests)
    placed = [
        (replace(r, off_middle=round(abs(fair - middles.get(r.attempt, fair)), PRECISION)), fair)
        for r, fair in placed
    ]
    return tuple(ranked for ranked, _ in sorted(placed, key=lambda pair: _order(*pair)))


def _middles(
    placed: Sequence[tuple[Ranked, float]],
    evidence: Sequence[Evidence],
    cross_tests: Sequence[CrossTest],
) -> dict[str, float]:
    """By attempt, the median score of those it is alike: same gates, same behaviour, or nothing
    executed of either. None for fewer than `MANY`, nor where trusted checks are all that is known:
    there the weights decide. Nothing in it depends on a contestant's own tests, or it could choose
    by them which rule holds."""
    rows = shown(evidence, cross_tests)
    told = any(rows.values())
    groups: dict[object, list[tuple[str, float]]] = {}
    for r, fair in placed:
        if r.usable and (told or not r.checks):
            groups.setdefault((r.passed, rows[r.attempt]), []).append((r.attempt, fair))
    found: dict[str, float] = {}
    for members in groups.values():
        if len(members) >= MANY:
            middle = median(fair for _, fair in members)
            found |= {name: middle for name, _ in members}
    return found


def _order(r: Ranked, fair: float) -> tuple[bool, int, float, float, float, float, str]:
    cost = math.inf if r.cost_usd is None else r.cost_usd
    belief = -(r.belief or 0.0)
    return not r.usable, -r.passed, belief, r.off_middle, -fair, cost, r.attempt


def _components(
    e: Evidence, cross_tests: Sequence[CrossTest], fastest: float | None
) -> dict[str, float]:
    parts = {"coverage": e.coverage, "tests": _tests(e, cross_tests, {e.attempt})}
    if e.passed_all:
        parts |= {"quality": e.quality, "speed": _speed(e.seconds, fastest)}
    return {name: value for name, value in parts.items() if value is not None}


def _tests(e: Evidence, cross_tests: Sequence[CrossTest], silent: Collection[str]) -> float | None:
    """Share of trusted checks and cross-run tests passed, those of `silent` authors left out:
    an attempt's own tests, which it could have written to say anything, do not speak for it."""
    votes = [(1.0, passed) for passed in e.acceptance]
    for test, outcome in zip(cross_tests, e.cross, strict=False):
        if outcome is not None and test.author not in silent:
            votes.append((test.weight, outcome))
    total = math.fsum(w for w, _ in votes)
    return math.fsum(w for w, passed in votes if passed) / total if total > 0 else None


def _speed(own: float | None, fastest: float | None) -> float | None:
    if own is None or fastest is None:
        return None
    return 1.0 if own <= fastest else fastest / own


def _score(parts: Mapping[str, float], policy: Policy) -> float:
    total = math.fsum(policy.weights[name] for name in parts)
    if total <= 0:
        return 0.0
    value = math.fsum(policy.weights[name] * share for name, share in parts.items()) / total
    return round(min(1.0, value), PRECISION)


def _consensus(ranked: Sequence[Evidence]) -> float | None:
    """Mean pairwise agreement of the top three with executed behaviour; None below three. Who
    failed a trusted check is known to be wrong, and has no say."""
    top = [e for e in ranked if e.passed_all and any(e.behaviour)][:TOP]
    shares = [s for a, b in combinations(top, 2) if (s := alike(a, b)) is not None]
    if len(top) < TOP or not shares:
        return None
    return round(math.fsum(shares) / len(shares), PRECISION)
