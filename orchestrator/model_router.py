"""Which tier an attempt runs on: the user's word, the rules, then a cascade that knows its end.

The text of a request says little about how hard it is; a verification says it exactly. So the
rules only choose where to begin, and `escalate` does the real work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from orchestrator.routing.odds import Chances, PastOutcomes, RoundOutcome, chances, round_passes
from orchestrator.routing.rules import Found, Rules, find
from orchestrator.runs.plan import GiveUp
from orchestrator.values import TIERS, Defaults, Feature, Tier

#: Characters of English text to a token, about.
_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `tier` is the user's word for it. `prompt_tokens` is the whole prompt's
    size where it is known. `checked`: trusted checks will judge the result."""

    text: str
    category: str = ""
    tier: Tier | None = None
    prompt_tokens: int | None = None
    checked: bool = False


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """`override` (--model) is for every request; `default` for those that no rule names.

    `price` is what an attempt costs on each tier relative to the others.
    """

    rules: Rules = field(default_factory=Rules)
    override: Tier | None = None
    default: Tier | None = None
    past: PastOutcomes = field(default_factory=PastOutcomes)
    price: Mapping[Tier, float] = field(
        default_factory=lambda: {"haiku": 1.0, "sonnet": 20.0, "opus": 40.0}
    )


@dataclass(frozen=True, slots=True)
class Route:
    """A tier and why, most important reason first. `fixed`: the user said so; no escalation.

    `asked` is what the request seems to need; `tier` is where it is tried now. `attempts` is
    how many the budget left can finish there, None where that is no question.
    """

    tier: Tier
    reasons: tuple[str, ...]
    fixed: bool = False
    asked: Tier | None = None
    attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """A feature after rounds that merged nothing: how it was routed, and what was played."""

    route: Route
    played: Sequence[RoundOutcome]
    request: Request = Request("")
    agent: str = "builtin"


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left in dollars, None without a cap; the price of an attempt by tier, None where
    it is not known; how many attempts a round has; how many rounds may still be played."""

    left_usd: float | None
    attempt_usd: Mapping[Tier, float | None]
    attempts: int = 1
    rounds: int = 2


def request_of(feature: Feature, prompt_tokens: int | None = None) -> Request:
    return Request(
        text="\n".join([feature.description, *feature.steps]),
        category=feature.category,
        tier=feature.tier,
        prompt_tokens=prompt_tokens,
        checked=bool(feature.acceptance),
    )


def classify(task: Request, agent: str, settings: RoutingSettings) -> Route:
    """Where a request begins: the user's word, an agent's rule, the list's default, the words,
    the size; then a cheaper start where it pays, because checks or history say so."""
    said = _said(task, agent, settings)
    if said is not None:
        return said
    asked = _by_words(task, settings.rules)
    if asked.tier == "opus":  # what these words name is dear when it goes wrong
        return asked
    return _start(asked, task, agent, settings)


def escalate(
    history: Situation, budget: Budget, settings: RoutingSettings | None = None
) -> Route | GiveUp:
    """The tier of the round after those in `history.played`, or that it is not worth its price.

    A round in which somebody passed and nothing could be merged is played again where it was.
    Else it is a dearer tier, of those that the budget left can finish an attempt on: the one from
    which the rounds to come are worth most, after their price (see `_worth_of`); the same tier when
    no dearer one is left.
    """
    rules = (settings or RoutingSettings()).rules
    odds = _odds(history, settings or RoutingSettings())
    last = history.played[-1]
    options = [_option(t, history, budget, odds) for t in _candidates(history)]
    payable = [o for o in options if o.attempts > 0]
    if not payable:
        dear = f"${options[0].usd:.2f}" if options[0].usd is not None else "an unknown sum"
        return GiveUp(
            f"an attempt on {options[0].tier} costs about {dear}, and ${budget.left_usd or 0:.2f} "
            "of the budget are left; raise it to go on"
        )
    best = _best(payable, history, budget, odds, rules)
    if best.passes < rules.give_up.least_chance:
        return GiveUp(f"another round on {best.tier} passes with {best.passes:.1%}: not played")
    if best.price > rules.give_up.worth_usd:
        return GiveUp(
            f"another round on {best.tier} costs about ${best.round_usd:.2f} and passes with "
            f"{best.passes:.0%}: ${best.price:.2f} for an expected pass, and a feature is worth "
            f"${rules.give_up.worth_usd:.2f} (give_up.worth_usd in routing.yaml)"
        )
    moved = "stays on" if best.tier == last.tier else "goes up to"
    why = "somebody passed and could not be merged" if last.passed else f"{last.tier} did not pass"
    reasons = [f"{moved} {best.tier}: {why}", f"a round here passes with about {best.passes:.0%}"]
    return Route(
        best.tier,
        (*reasons, *([odds.why] if odds.why else [])),
        fixed=history.route.fixed,
        asked=history.route.asked,
        attempts=best.attempts,
    )


def possible(start: Route, defaults: Defaults) -> tuple[Tier, ...]:
    """Every tier that some round may use, cheapest first."""
    if start.fixed:
        return (start.tier,)
    first = TIERS.index(start.tier)
    return TIERS[first : first + 1] if defaults.rounds == 1 else TIERS[first:]


# ------------------------------------------------------------------- where to begin


def _said(task: Request, agent: str, settings: RoutingSettings) -> Route | None:
    """What somebody has decided beforehand."""
    if settings.override is not None:
        return Route(settings.override, ("--model says so",), fixed=True, asked=settings.override)
    by_agent = settings.rules.agents.get(agent)
    for tier, why in (
        (task.tier, "the feature's own `tier`"),
        (by_agent, f"agent {agent} has a rule"),
        (settings.default, "`defaults.tier` of the list"),
    ):
        if tier is not None:
            return Route(tier, (why,), asked=tier)
    return None


def _by_words(task: Request, rules: Rules) -> Route:
    found = find(rules, task.text)
    chosen = _chosen(found, short=len(task.text) <= rules.size.short_characters)
    if chosen is None:
        return _sized(_by_length(task, rules), task, rules)
    short = chosen.tier == "haiku" and any(f.at < chosen.at for f in found)
    words = f"{chosen.tier} by the words `{chosen.phrase}`" + (" of a short request" * short)
    return _sized(Route(chosen.tier, (words,), asked=chosen.tier), task, rules)


def _chosen(found: Sequence[Found], *, short: bool) -> Found | None:
    """`found` is in the order of the text, so the first of the wanted tier is the one."""
    for tiers in (("opus",), ("haiku",) if short else (), ("haiku", "sonnet")):
        first = next((f for f in found if f.tier in tiers), None)
        if first is not None:
            return first
    return None


def _by_length(task: Request, rules: Rules) -> Route:
    tokens = len(task.text) // _TOKEN
    tier: Tier = "haiku" if tokens <= rules.size.simple_tokens else "sonnet"
    return Route(tier, (f"{tier} for about {tokens} tokens without a known word",), asked=tier)


def _sized(route: Route, task: Request, rules: Rules) -> Route:
    size, large = task.prompt_tokens or 0, rules.size.large_prompt_tokens
    if route.tier != "haiku" or size < large:
        return route
    why = f"sonnet, not haiku: a prompt of {size} tokens (from {large} on)"
    return Route("sonnet", (why, *route.reasons), asked="sonnet")


def _start(asked: Route, task: Request, agent: str, settings: RoutingSettings) -> Route:
    """The start that costs least until something passes, where checks can tell; where nothing
    can, what the request asks for."""
    rules = settings.rules
    large = (task.prompt_tokens or 0) >= rules.size.large_prompt_tokens
    if not (task.checked and rules.try_cheaper_where_checked) or large:
        return asked
    odds = chances(rules, asked.tier, settings.past, category=task.category, agent=agent)
    costs = {t: _until_passed(t, odds.by_tier, settings.price) for t in TIERS}
    ceiling = TIERS.index(asked.tier) if not odds.why else len(TIERS) - 1
    start = min(TIERS[: ceiling + 1], key=lambda t: (costs[t], TIERS.index(t)))
    if start == asked.tier:
        return Route(start, (*asked.reasons, odds.why) if odds.why else asked.reasons,
                     asked=asked.tier)  # fmt: skip
    why = (
        f"{start} first: checks judge the result, it passes with about "
        f"{odds.by_tier[start]:.0%}, and going on from there costs least"
    )
    reasons = [why, *([odds.why] if odds.why else []), *asked.reasons]
    return Route(start, tuple(reasons), asked=asked.tier)


def _until_passed(start: Tier, chance: Mapping[Tier, float], price: Mapping[Tier, float]) -> float:
    """Expected price of beginning at `start` and going up one tier after each failure. What the
    last tier leaves unsolved is asked there once more, so that giving up early is no saving."""
    expected, reached = 0.0, 1.0
    for tier in TIERS[TIERS.index(start) :]:
        expected += reached * price[tier]
        reached *= 1 - chance[tier]
    return expected + reached * price[TIERS[-1]] / chance[TIERS[-1]]


# ------------------------------------------------------------------ another round


@dataclass(frozen=True, slots=True)
class _Option:
    """A round that could be played: attempts that the budget allows, 0 when not even one."""

    tier: Tier
    attempts: int
    passes: float
    usd: float | None

    @property
    def round_usd(self) -> float:
        return (self.usd or 0.0) * self.attempts

    @property
    def price(self) -> float:
        """Dollars for an expected pass; 0 where the price is unknown: the book decides then."""
        return self.round_usd / max(self.passes, 1e-9)


def _candidates(history: Situation) -> Sequence[Tier]:
    last = history.played[-1]
    if history.route.fixed or last.passed:
        return (last.tier,)
    return TIERS[TIERS.index(last.tier) + 1 :] or (last.tier,)


def _option(tier: Tier, history: Situation, budget: Budget, odds: Chances) -> _Option:
    usd = budget.attempt_usd.get(tier)
    attempts = budget.attempts
    if budget.left_usd is not None and usd:
        attempts = min(attempts, int(budget.left_usd / usd))
    passes = round_passes(odds.by_tier[tier], tier, history.played, max(attempts, 1))
    return _Option(tier, attempts, passes, usd)


def _best(
    options: Sequence[_Option], history: Situation, budget: Budget, odds: Chances, rules: Rules
) -> _Option:
    """Where nothing is known to cost anything, it climbs slowly."""
    if not any(one.usd for one in options):
        return options[0]
    ways = _ways([one.tier for one in options], budget.rounds)
    way = max(ways, key=lambda way: _worth_of(way, history, budget, odds, rules))
    return next(one for one in options if one.tier == way[0])


def _ways(tiers: Sequence[Tier], rounds: int) -> list[tuple[Tier, ...]]:
    """Rounds that may follow each other: each dearer than the one before, the dearest again."""
    top = tiers[-1]
    found: list[tuple[Tier, ...]] = []
    for length in range(1, min(len(tiers), rounds) + 1):
        for way in combinations(tiers, length):
            again = rounds - length if way[-1] == top else 0
            found += [(*way, *[top] * more) for more in range(again + 1)]
    return found


def _worth_of(
    way: Sequence[Tier], history: Situation, budget: Budget, odds: Chances, rules: Rules
) -> float:
    """Expected dollars: a feature's worth times the chance that a round of this way passes, less
    what its rounds cost. A tier that is left out may be worth more than its price and still be
    passed by: rounds are few, and a dearer one is likelier to pass in its place."""
    worth, reached = 0.0, 1.0
    for tier in way:
        one = _option(tier, history, budget, odds)
        worth += reached * (one.passes * rules.give_up.worth_usd - one.round_usd)
        reached *= 1 - one.passes
        played = (*history.played, RoundOutcome(tier, max(one.attempts, 1)))
        history = replace(history, played=played)
    return worth


def _odds(history: Situation, settings: RoutingSettings) -> Chances:
    asked = history.route.asked or history.route.tier
    return chances(
        settings.rules, asked, settings.past, category=history.request.category, agent=history.agent
    )
