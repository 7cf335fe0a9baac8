"""Chooses among a feature's attempts: evidence in, one selection with its reasons out.

Lexicographic first, weighted second:

1. usable attempts before unusable ones;
2. more trusted acceptance checks passed; only an attempt that passes all of them can win;
3. among attempts equal so far, agreement with each other on executed probes (`behaviour`);
4. the weighted score, 40 coverage, 30 tests, 20 quality, 10 speed, over what was measured;
5. the cheaper attempt (unknown cost last), then the attempt's name.

Trusted checks come before weights because, on 100 problems with 15 samples each, a gate and
then agreement chose right in 38% of cases where the weights alone chose right in 29%.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

#: Scores and agreements closer than this are equal: sums in another order must not decide.
PRECISION = 9
#: The documented rule speaks of the top three, and fewer say nothing about consensus.
TOP = 3


def _check_share(what: str, value: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ValueError(f"{what} {value} must be between 0 and 1")


@dataclass(frozen=True)
class CrossTest:
    """One attempt-written test in the pool. `weight`: how often it was written independently."""

    id: str
    author: str | None
    weight: float = 1.0


@dataclass(frozen=True)
class Evidence:
    """What verification observed about one attempt.

    `usable`: applies, imports, breaks nothing that passed before. `acceptance` holds the trusted
    checks in the same order for every attempt; an unusable attempt may leave it empty, because
    nothing was run. `cross` has one outcome per `CrossTest` (None: not run); `behaviour` one
    digest per shared probe (None: not executed). `coverage` (of changed lines) and `quality` are
    0..1, `seconds` is the run time of verification; None is not measured, and never zero.
    """

    attempt: str
    usable: bool
    acceptance: tuple[bool, ...]
    cross: tuple[bool | None, ...] = ()
    behaviour: tuple[str | None, ...] = ()
    coverage: float | None = None
    quality: float | None = None
    seconds: float | None = None
    cost_usd: float | None = None

    @property
    def passed_all(self) -> bool:
        """Usable, and no trusted check failed. True without checks: a person decides then."""
        return self.usable and all(self.acceptance)


@dataclass(frozen=True)
class Policy:
    """The weights (any scale; only their ratios count) and when a person must decide."""

    coverage: float = 40.0
    tests: float = 30.0
    quality: float = 20.0
    speed: float = 10.0
    min_consensus: float = 0.70

    def __post_init__(self) -> None:
        """Raises `ValueError` for a weight that is negative or not finite, or when all are 0."""
        weights = (self.coverage, self.tests, self.quality, self.speed)
        if not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
            raise ValueError(f"weights must be finite, not negative and not all zero: {weights}")
        _check_share("min_consensus", self.min_consensus)

    @property
    def weights(self) -> Mapping[str, float]:
        return {
            "coverage": self.coverage,
            "tests": self.tests,
            "quality": self.quality,
            "speed": self.speed,
        }


@dataclass(frozen=True)
class Ranked:
    """One attempt's place. `score` is 0..1; `components` holds what it was made of, measured
    parts only, so that an empty one means that nothing was measured, not that it scored zero.
    """

    attempt: str
    score: float
    usable: bool = True
    passed: int = 0
    checks: int = 0
    agreement: float | None = None
    components: tuple[tuple[str, float], ...] = ()
    cost_usd: float | None = None


@dataclass(frozen=True)
class Selection:
    """The choice and why. `winner` None: no attempt may be merged. `confidence` is None until
    something calibrated can state it; a number nobody measured would be an invention.
    """

    winner: str | None
    ranking: tuple[Ranked, ...]
    consensus: float | None
    confidence: float | None
    needs_review: bool
    reasons: tuple[str, ...]


def select(
    evidence: Sequence[Evidence],
    *,
    cross_tests: Sequence[CrossTest] = (),
    policy: Policy = Policy(),
) -> Selection:
    """The best attempt by the rule above; the order of `evidence` never matters.

    Raises `ValueError` for evidence that contradicts itself: an attempt named twice, vectors
    of different lengths, a number that is not finite or outside its range.
    """
    _validate(evidence, cross_tests)
    ranking = _rank(evidence, cross_tests, policy)
    by_name = {e.attempt: e for e in evidence}
    trusted = any(e.acceptance for e in evidence)
    winner = ranking[0] if ranking and by_name[ranking[0].attempt].passed_all else None
    consensus = _consensus([by_name[r.attempt] for r in ranking if r.usable])
    disagree = consensus is not None and consensus < policy.min_consensus
    return Selection(
        winner=winner.attempt if winner else None,
        ranking=ranking,
        consensus=consensus,
        confidence=None,
        needs_review=winner is not None and (disagree or not trusted),
        reasons=(
            *_why(ranking, winner, policy),
            *_why_review(winner, consensus, trusted, policy),
            *_why_not(ranking, winner),
        ),
    )


# ------------------------------------------------------------------ ranking


def _rank(
    evidence: Sequence[Evidence], cross_tests: Sequence[CrossTest], policy: Policy
) -> tuple[Ranked, ...]:
    best = max((_gate(e) for e in evidence), default=(False, 0))
    leaders = sorted((e for e in evidence if _gate(e) == best), key=lambda e: e.attempt)
    agreements = _agreements(leaders)
    # Only leaders set the pace: an attempt that crashed at once is the fastest of all.
    fastest = min((e.seconds for e in leaders if e.seconds is not None), default=None)
    ranked = []
    for e in evidence:
        parts = _components(e, cross_tests, fastest)
        ranked.append(
            Ranked(
                attempt=e.attempt,
                score=_score(parts, policy),
                usable=e.usable,
                passed=sum(e.acceptance),
                checks=len(e.acceptance),
                agreement=agreements.get(e.attempt),
                components=tuple(parts.items()),
                cost_usd=e.cost_usd,
            )
        )
    # Not executed is neither for nor against: such a leader stands at the leaders' mean.
    known = [a for a in agreements.values() if a is not None]
    neutral = round(math.fsum(known) / len(known), PRECISION) if known else 0.0
    return tuple(sorted(ranked, key=lambda r: _order(r, neutral)))


def _gate(e: Evidence) -> tuple[bool, int]:
    return e.usable, sum(e.acceptance)


def _order(r: Ranked, neutral: float) -> tuple[bool, int, float, float, float, str]:
    agreement = neutral if r.agreement is None else r.agreement
    cost = math.inf if r.cost_usd is None else r.cost_usd
    return not r.usable, -r.passed, -agreement, -r.score, cost, r.attempt


def _components(
    e: Evidence, cross_tests: Sequence[CrossTest], fastest: float | None
) -> dict[str, float]:
    parts = {
        "coverage": e.coverage,
        "tests": _tests(e, cross_tests),
        "quality": e.quality,
        "speed": _speed(e.seconds, fastest),
    }
    return {name: value for name, value in parts.items() if value is not None}


def _tests(e: Evidence, cross_tests: Sequence[CrossTest]) -> float | None:
    """Share of trusted checks and cross-run tests passed; an attempt's own tests, which it
    could have written to say anything, do not speak for it."""
    votes = [(1.0, passed) for passed in e.acceptance]
    for test, outcome in zip(cross_tests, e.cross, strict=False):
        if outcome is not None and test.author != e.attempt:
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


# ---------------------------------------------------------------- agreement


def _alike(a: Evidence, b: Evidence) -> float | None:
    """Share of the probes both executed on which both did the same; None without such."""
    both = [(x, y) for x, y in zip(a.behaviour, b.behaviour, strict=False) if x and y]
    return sum(x == y for x, y in both) / len(both) if both else None


def _agreements(leaders: Sequence[Evidence]) -> dict[str, float | None]:
    """Each leader's mean agreement with the other leaders."""
    found: dict[str, float | None] = {}
    for e in leaders:
        shares = [s for other in leaders if other is not e if (s := _alike(e, other)) is not None]
        found[e.attempt] = round(math.fsum(shares) / len(shares), PRECISION) if shares else None
    return found


def _consensus(usable: Sequence[Evidence]) -> float | None:
    """Mean pairwise agreement of the top three with executed behaviour; None below three."""
    top = [e for e in usable if any(e.behaviour)][:TOP]
    shares = [s for a, b in combinations(top, 2) if (s := _alike(a, b)) is not None]
    if len(top) < TOP or not shares:
        return None
    return round(math.fsum(shares) / len(shares), PRECISION)


# ------------------------------------------------------------------ reasons


def _why(ranking: Sequence[Ranked], winner: Ranked | None, policy: Policy) -> tuple[str, ...]:
    if not ranking:
        return ("no attempt to choose from",)
    if winner is None:
        best = ranking[0]
        if not best.usable:
            return ("no attempt is usable",)
        return (
            f"no attempt passed every trusted check: the best, {best.attempt}, "
            f"passed {best.passed} of {best.checks}",
        )
    lines = [f"{winner.attempt} won {winner.score:.2f}: {_sum(winner, policy)}"]
    if winner.checks:
        lines.append(f"{winner.attempt} passed {winner.passed} of {winner.checks} trusted checks")
    missing = [name for name in policy.weights if name not in dict(winner.components)]
    if missing:
        lines.append(f"not measured, and left out of the weights: {', '.join(missing)}")
    if len(ranking) > 1:
        lines.extend(_why_ahead(winner, ranking[1]))
    return tuple(lines)


def _sum(r: Ranked, policy: Policy) -> str:
    parts = [f"{name} {share:.2f} x {policy.weights[name]:g}" for name, share in r.components]
    return ", ".join(parts) or "nothing was measured"


def _why_ahead(winner: Ranked, second: Ranked) -> tuple[str, ...]:
    """What decided between the first two, where the gates did not."""
    if not second.usable or second.passed != winner.passed:
        return ()
    a, b = winner.agreement, second.agreement
    if a is not None and b is not None and a != b:
        return (
            f"agreed with the other leaders on {a:.2f} of behaviour, {second.attempt} on {b:.2f}",
        )
    if winner.score != second.score:
        return (f"ahead of {second.attempt} at {second.score:.2f}",)
    if winner.cost_usd != second.cost_usd:
        return (
            f"tie with {second.attempt} broken by cost "
            f"{_money(winner.cost_usd)} < {_money(second.cost_usd)}",
        )
    return (f"tie with {second.attempt} broken by name: equal score and cost",)


def _money(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:.4g}"


def _why_review(
    winner: Ranked | None, consensus: float | None, trusted: bool, policy: Policy
) -> tuple[str, ...]:
    lines = []
    if winner is not None and not trusted:
        lines.append("a person decides: no trusted check judged these attempts")
    if consensus is not None:
        verdict = (
            f"below {policy.min_consensus:.0%}, a person decides"
            if consensus < policy.min_consensus
            else f"at least {policy.min_consensus:.0%}"
        )
        lines.append(f"the top three agree on {consensus:.0%} of executed behaviour: {verdict}")
    return tuple(lines)


def _why_not(ranking: Sequence[Ranked], winner: Ranked | None) -> tuple[str, ...]:
    lines = []
    for r in ranking:
        if winner is not None and r.attempt == winner.attempt:
            continue
        if not r.usable:
            lines.append(f"{r.attempt} is out: not usable")
        elif r.passed < r.checks:
            lines.append(f"{r.attempt} is out: passed {r.passed} of {r.checks} trusted checks")
    return tuple(lines)


# --------------------------------------------------------------- validation


def _validate(evidence: Sequence[Evidence], cross_tests: Sequence[CrossTest]) -> None:
    names = [e.attempt for e in evidence]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"attempts named more than once in the evidence: {', '.join(twice)}")
    for test in cross_tests:
        if not math.isfinite(test.weight) or test.weight < 0:
            raise ValueError(f"cross test {test.id}: weight {test.weight} is not a finite number")
    judged = [e for e in evidence if e.usable or e.acceptance]
    _same_length("acceptance checks", {e.attempt: len(e.acceptance) for e in judged})
    probed = {e.attempt: len(e.behaviour) for e in evidence if e.behaviour}
    _same_length("behaviour probes", probed)
    for e in evidence:
        if e.cross and len(e.cross) != len(cross_tests):
            raise ValueError(
                f"attempt {e.attempt}: {len(e.cross)} cross outcomes "
                f"for {len(cross_tests)} cross tests"
            )
        _check_numbers(e)


def _same_length(what: str, lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in sorted(lengths.items()))
        raise ValueError(f"every attempt needs the same {what} in the same order: {told}")


def _check_numbers(e: Evidence) -> None:
    for name in ("coverage", "quality"):
        if (share := getattr(e, name)) is not None:
            _check_share(f"attempt {e.attempt}: {name}", share)
    for name in ("seconds", "cost_usd"):
        value = getattr(e, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"attempt {e.attempt}: {name} {value} must be finite, 0 or more")
