"""Which attempts to believe, from what was executed: a posterior over distinct behaviours.

At most one behaviour is right. Attempts that did the same on every probe are one behaviour k,
and its log posterior, up to a constant, is a pool of four opinions (weights of `Model`):

    size * ln(attempts in k)  +  agreement * A(k)  -  tests * T(k)  -  simple * S(k)

`A` is the mean chance-corrected agreement (Cohen 1960, kappa) of k with every behaviour, so
that answering always the same earns nothing, and twenty copies of one mistake one voice. `T` is
how much of the tests that are believed right k fails. A test's odds of being right follow from
who passes it, against what one expects of a right test: attempts that passed the trusted checks
are expected to pass right tests, so those that some of them fail are believed less. `S` is how
much better k looks (quality) than most of four or more behaviours that differ: what is simpler
than the others has more often left something out.

Nobody speaks for himself. A test's author is no witness for it. What one author's tests take
from others is bounded, is nothing unless a stranger passes them, and never depends on how many
tests the author has: so adding tests that only their author passes, or that all pass, changes
nothing, and deleting tests never helps the one who wrote them. docs/selection.md has the whole
argument and the figures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import eq

from orchestrator.evidence import CrossTest, Evidence

#: Scores closer than this are equal: sums in another order must not decide.
PRECISION = 9
#: Among fewer behaviours no one can be simpler than most.
FEW = 4

Row = tuple[str | bool | None, ...]


@dataclass(frozen=True)
class Model:
    """Weights of the opinions and what is expected of a test, from 82 development problems.

    Round numbers: changing one of the first four by a third moves the share of right choices by
    0.6 points at most, one of the others by 0.9 (15 attempts, 30 and 10 draws; docs/selection.md).
    """

    size: float = 0.7
    agreement: float = 9.0
    tests: float = 6.0
    simple: float = 1.0
    #: How many voices a behaviour has about itself: its kappa with itself is near 1 when its
    #: answers differ with the input, and 0 when they never do.
    own_voice: float = 3.0
    #: Added to kappa's denominator, which is 0 for answers that never vary.
    smooth: float = 0.1
    #: Prior of the share of right tests an attempt passes: Beta(1, 2).
    passes: float = 1.0
    fails: float = 2.0
    #: Slope of a test's log odds of being right in the log odds of being passed.
    slope: float = 1.5
    #: Half a sure test of doubt: a pool of dubious tests must not decide alone.
    doubt: float = 0.5


@dataclass(frozen=True)
class _Voter:
    """One distinct behaviour: who shows it, and how it did on the trusted checks."""

    members: tuple[Evidence, ...]
    row: Row

    @property
    def quality(self) -> float | None:
        """Mean of its members' quality; None when none was measured."""
        known = [e.quality for e in self.members if e.quality is not None]
        return round(math.fsum(known) / len(known), PRECISION) if known else None

    def log_odds(self, model: Model) -> float:
        """That it passes a right test, as far as the trusted checks tell."""
        passed, checks = self.members[0].gate[1], len(self.members[0].acceptance)
        return math.log((model.passes + passed) / (model.fails + checks - passed))


@dataclass(frozen=True)
class Opinion:
    """What is believed of one attempt: `score` is the log posterior up to a constant, from
    `alike` attempts that behave like it (itself included), their mean agreement beyond chance
    with the distinct behaviours, `failed`, how much of what is believed right it fails (0..1), and
    `simple`, how much simpler than most it looks (0..1). `agreement` here is the mean kappa with
    every other attempt, 0 without one. `executed`: it was seen to do something on the probes.
    """

    score: float
    alike: int
    agreement: float
    failed: float
    executed: bool = True
    simple: float = 0.0


def believe(
    evidence: Sequence[Evidence], cross_tests: Sequence[CrossTest], model: Model = Model()
) -> dict[str, Opinion]:
    """An opinion of each usable attempt by name; empty when nothing telling was executed."""
    usable = sorted((e for e in evidence if e.usable), key=lambda e: e.attempt)
    voters = _voters(usable, cross_tests)
    failing = _failing(usable, voters, cross_tests, model)
    if not failing and not any(v.row for v in voters):
        return {}
    kappas = _kappas(voters, model)
    voices, simple = _voices(kappas, model), _simple(voters, kappas)
    opinions = {}
    for i, voter in enumerate(voters):
        alike = len(voter.members)
        shared = model.size * math.log(alike) + model.agreement * voices[i]
        shared -= model.simple * simple[i]
        agreement = _agreement(i, kappas, voters)
        for e in voter.members:
            failed = failing.get(e.attempt, 0.0)
            score = round(shared - model.tests * failed, PRECISION)
            opinions[e.attempt] = Opinion(
                score, alike, agreement, failed, bool(voter.row), simple[i]
            )
    return opinions


#: Logistic calibration, fitted on the development problems: intercept, ln(alike), agreement,
#: ln(1 + trusted checks). Brier score 0.185 where the base rate alone has 0.24, cross-validated
#: over problems; it speaks of three or more attempts, and fewer have no calibrated number.
CALIBRATION = (-1.7, 0.3, 3.5, 0.4)


def confidence(opinion: Opinion, checks: int) -> float:
    """Probability that an attempt which passed all of `checks` trusted checks is right."""
    intercept, alike, agreement, trusted = CALIBRATION
    odds = (
        intercept
        + alike * math.log(opinion.alike)
        + agreement * opinion.agreement
        + trusted * math.log1p(checks)
    )
    return round(1 / (1 + math.exp(-odds)), PRECISION)


# ------------------------------------------------------------------ behaviours


def _executed(row: Row) -> Row:
    return row if any(cell is not None and cell != "" for cell in row) else ()


def shown(evidence: Sequence[Evidence], cross_tests: Sequence[CrossTest]) -> dict[str, Row]:
    """What stands for the behaviour of each usable attempt, by name; empty for one of which
    nothing was executed. Without any probe, its outcomes on the tests that none of the attempts
    is known to have written, as in CodeT: so that no attempt can decide whom it is alike."""
    usable = [e for e in evidence if e.usable]
    if any(_executed(e.behaviour) for e in usable):
        return {e.attempt: _executed(e.behaviour) for e in usable}
    unknown = [t for t, test in enumerate(cross_tests) if test.author is None]
    return {
        e.attempt: _executed(tuple(e.cross[t] for t in unknown)) if e.cross else () for e in usable
    }


def _voters(usable: Sequence[Evidence], cross_tests: Sequence[CrossTest]) -> list[_Voter]:
    rows = shown(usable, cross_tests)
    groups: dict[object, tuple[Row, list[Evidence]]] = {}
    for e in usable:
        row = rows[e.attempt]
        groups.setdefault((row, e.acceptance) if row else e.attempt, (row, []))[1].append(e)
    return [_Voter(tuple(members), row) for row, members in groups.values()]


def _kappas(voters: Sequence[_Voter], model: Model) -> list[list[float | None]]:
    """Chance-corrected agreement of every two behaviours; None where one was not executed."""
    spread = [_frequencies(v.row) for v in voters]
    table: list[list[float | None]] = [[None] * len(voters) for _ in voters]
    for i, a in enumerate(voters):
        for j, b in enumerate(voters[: i + 1]):
            if a.row and b.row:
                chance = _chance(spread[i], spread[j])
                table[i][j] = table[j][i] = _kappa(a.row, b.row, chance, model)
    return table


def _voices(kappas: Sequence[Sequence[float | None]], model: Model) -> list[float]:
    """Each behaviour's mean kappa with all of them, its own voice weighted. Not executed is
    neither for nor against: such an attempt stands at the mean of the others."""
    heard = {}
    for i, row in enumerate(kappas):
        known = [k for k in row if k is not None]
        if (own := row[i]) is not None:
            heard[i] = (math.fsum(known) + (model.own_voice - 1) * own) / len(known)
    mean = math.fsum(heard.values()) / len(heard) if heard else 0.0
    return [heard.get(i, mean) for i in range(len(kappas))]


def _agreement(
    index: int, kappas: Sequence[Sequence[float | None]], voters: Sequence[_Voter]
) -> float:
    """Mean kappa of one attempt of this behaviour with every other attempt that was executed."""
    others = [
        (len(v.members) - (i == index), kappa)
        for i, (v, kappa) in enumerate(zip(voters, kappas[index], strict=True))
        if kappa is not None
    ]
    total = sum(n for n, _ in others)
    return math.fsum(n * kappa for n, kappa in others) / total if total > 0 else 0.0


def _simple(voters: Sequence[_Voter], kappas: Sequence[Sequence[float | None]]) -> list[float]:
    """By behaviour, how much better it looks than most: the share of those that answer which look
    worse, less the share which look better, 0 at least. What answers always the same, with a kappa
    of 0 with itself, is no rival. 0 for all where fewer than `FEW` tell, and for what failed a
    trusted check: quality speaks of full passers only."""
    answering = [v.quality for i, v in enumerate(voters) if kappas[i][i]]
    rivals = [q for q in answering if q is not None]
    if len(rivals) < FEW:
        return [0.0] * len(voters)
    found = []
    for v in voters:
        own = v.quality if v.members[0].passed_all else None
        ahead = sum((own > q) - (own < q) for q in rivals) if own is not None else 0
        found.append(max(0, ahead) / len(rivals))
    return found


def _frequencies(row: Row) -> dict[str | bool, float]:
    counts: dict[str | bool, int] = {}
    for cell in row:
        if cell is not None:
            counts[cell] = counts.get(cell, 0) + 1
    total = sum(counts.values())
    return {cell: count / total for cell, count in counts.items()}


def _chance(a: Mapping[str | bool, float], b: Mapping[str | bool, float]) -> float:
    """How often two would agree that answer as these do, but in any order."""
    if len(b) < len(a):
        a, b = b, a
    return math.fsum(share * b[cell] for cell, share in a.items() if cell in b)


def _kappa(a: Row, b: Row, chance: float, model: Model) -> float:
    both = len(a)
    if None in a or None in b:
        pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
        both, same = len(pairs), sum(x == y for x, y in pairs)
    else:
        same = sum(map(eq, a, b))
    return (same / both - chance) / (1 - chance + model.smooth) if both else 0.0


# ----------------------------------------------------------------------- tests


def _failing(
    usable: Sequence[Evidence],
    voters: Sequence[_Voter],
    cross_tests: Sequence[CrossTest],
    model: Model,
) -> dict[str, float]:
    """How much of what is believed right each attempt fails; empty without a telling test.

    The tests of unknown authors are one pool: the share of it failed, by belief. A known author
    takes failed / (failed + doubt) of one vote among all attempts, however many tests it wrote.
    Trusted checks, passed by every leader, count as sure tests in the same sums. A result that
    is missing supports nobody; an attempt that no test was run on stands at the mean.
    """
    ran = [e for e in usable if e.cross]
    pools = _believed(cross_tests, voters, ran, model)
    if not pools:
        return {}
    checks = max(len(e.acceptance) for e in usable)
    totals = {a: math.fsum(b for _, b in tests) for a, tests in pools.items()}
    found = {}
    for e in ran:
        parts = []
        for author, tests in pools.items():
            failed = math.fsum([belief for t, belief in tests if e.cross[t] is not True])
            if author is None:
                parts.append(failed / (totals[None] + model.doubt + checks))
            elif author != e.attempt:
                parts.append(failed / (failed + model.doubt) / (len(usable) + checks))
        found[e.attempt] = math.fsum(parts)
    mean = math.fsum(found.values()) / len(found)
    return {e.attempt: found.get(e.attempt, mean) for e in usable}


def _believed(
    cross_tests: Sequence[CrossTest],
    voters: Sequence[_Voter],
    ran: Sequence[Evidence],
    model: Model,
) -> dict[str | None, list[tuple[int, float]]]:
    """By author, the telling tests and the belief that each is right, times its weight.

    A test that all pass tells nothing, nor does one that its own author fails.
    """
    by_name = {e.attempt: e.cross for e in ran}
    heard = [
        (v.log_odds(model), [(e.attempt, e.cross) for e in v.members if e.cross]) for v in voters
    ]
    pools: dict[str | None, list[tuple[int, float]]] = {}
    for t, test in enumerate(cross_tests):
        column = [e.cross[t] for e in ran]
        own = by_name[test.author][t] if test.author in by_name else None
        if False not in column or True not in column or own is False:
            continue
        votes = []
        for log_odds, members in heard:
            said = [row[t] for name, row in members if name != test.author]
            known = [outcome for outcome in said if outcome is not None]
            if known:
                votes.append((sum(known) / len(known), log_odds))
        if (belief := test.weight * _right(votes, model)) > 0:
            pools.setdefault(test.author, []).append((t, belief))
    return pools


def _right(votes: Sequence[tuple[float, float]], model: Model) -> float:
    """Probability that a test is right, from each behaviour's (share passing, log odds that it
    passes a right test); 0 when nobody but the author passes it."""
    passed = math.fsum([share for share, _ in votes])
    if not passed:
        return 0.0
    expected = math.fsum([odds for _, odds in votes]) / len(votes)
    odds = math.log((passed + 0.5) / (len(votes) - passed + 0.5))
    return 1 / (1 + math.exp(-model.slope * (odds - expected)))
