"""The chance that an attempt or a round passes: the rules' figures, corrected by what happened.

Chances are Beta distributions. Attempts at one feature are far from independent: a feature that
defeated fifteen will probably defeat the sixteenth. A Beta that is wide (`_SPREAD`) says just that.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.routing.rules import Rules
from orchestrator.selector import Evidence
from orchestrator.values import TIERS, Tier

#: Strength of the Beta over features: 1 is nearly "either it can be done on this tier or not".
_SPREAD = 1.0
#: What one failure says about a dearer tier, per step up: less, for that tier is abler.
_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One verified attempt of the past."""

    tier: Tier
    category: str
    agent: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """Passes among attempts."""

    passed: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class PastOutcomes:
    """Outcomes counted by (tier, category, agent)."""

    rates: Mapping[tuple[Tier, str, str], Rate] = field(default_factory=dict)

    def rate(self, tier: Tier, category: str, agent: str) -> Rate:
        return self.rates.get((tier, category, agent), Rate())


@dataclass(frozen=True, slots=True)
class Chances:
    """By tier, that one attempt passes; `why` is empty where only the rules speak."""

    by_tier: Mapping[Tier, float]
    why: str = ""


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """One round that was played. `progress`: the best share of trusted checks passed, 0..1.

    `usd` is what an attempt cost in the mean, None when it is not known.
    """

    tier: Tier
    attempts: int
    passed: int = 0
    progress: float = 0.0
    usd: float | None = None


def outcome_of(tier: Tier, attempts: int, evidence: Sequence[Evidence]) -> RoundOutcome:
    """What a round of `attempts` came to, by the evidence on those that could be verified."""
    costs = [e.cost_usd for e in evidence if e.cost_usd is not None]
    return RoundOutcome(
        tier,
        attempts,
        passed=sum(bool(e.acceptance) and e.passed_all for e in evidence),
        progress=max((_share(e) for e in evidence), default=0.0),
        usd=sum(costs) / len(costs) if costs else None,
    )


def _share(evidence: Evidence) -> float:
    checks = evidence.acceptance
    return sum(checks) / len(checks) if evidence.usable and checks else 0.0


def count(outcomes: Iterable[Outcome]) -> PastOutcomes:
    rates: dict[tuple[Tier, str, str], Rate] = {}
    for one in outcomes:
        key = (one.tier, one.category, one.agent)
        old = rates.get(key, Rate())
        rates[key] = Rate(old.passed + one.passed, old.attempts + 1)
    return PastOutcomes(rates)


def chances(rules: Rules, asked: Tier, past: PastOutcomes, *, category: str, agent: str) -> Chances:
    """The rules' chances for requests that ask for `asked`, shrunk towards by the past's.

    Posterior mean of a Beta with the rules' figure as its mean and `history.weight` as its
    strength. A tier with fewer than `history.least_attempts` is left to the rules.
    """
    figures = dict(rules.chance[asked])
    words = []
    for tier in TIERS:
        rate = past.rate(tier, category, agent)
        if rate.attempts < rules.history.least_attempts:
            continue
        weight = rules.history.weight
        prior = figures[tier]
        figures[tier] = (weight * prior + rate.passed) / (weight + rate.attempts)
        words.append(
            f"{rate.passed} of {rate.attempts} on {tier} passed, "
            f"so {figures[tier]:.0%} instead of {prior:.0%}"
        )
    name = f"category {category}" if category else "no category"
    return Chances(figures, f"history ({name}, agent {agent}): {'; '.join(words)}" if words else "")


def round_passes(chance: float, tier: Tier, played: Sequence[RoundOutcome], attempts: int) -> float:
    """The chance that at least one of `attempts` on `tier` passes, after rounds that did not.

    Beta-binomial: 1 - B(a, b + n + m) / B(a, b + n) for m attempts after n failures. A failure
    on a cheaper tier counts less, and half where most checks had passed already.
    """
    failures = sum(_weight(tier, one) * (one.attempts - one.passed) for one in played)
    a, b = _SPREAD * chance, _SPREAD * (1 - chance) + failures
    return 1.0 - math.exp(_log_beta(a, b + attempts) - _log_beta(a, b))


def _weight(tier: Tier, outcome: RoundOutcome) -> float:
    steps = max(0, TIERS.index(tier) - TIERS.index(outcome.tier))
    return _STEP**steps * (1 - outcome.progress / 2)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
