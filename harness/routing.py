"""Asks the router with what it needs to know: rules on file, prices, money left, past outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from harness.ports import Clock
from harness.record.outcomes import Ledger
from orchestrator import model_router
from orchestrator.errors import InputError, LimitReachedError
from orchestrator.model_router import Budget, Route, RoutingSettings, Situation
from orchestrator.routing import rules as routing_rules
from orchestrator.routing.odds import RoundOutcome
from orchestrator.routing.rules import Rules
from orchestrator.runs.plan import GiveUp
from orchestrator.values import TIERS, Defaults, Feature, Tier, Usage

NAME = "routing.yaml"

#: One call in the middle of an attempt; only the tiers' prices beside each other matter.
_TYPICAL = Usage(input=2_000, output=800, cache_read=30_000, cache_write=2_000)


def read_rules(workspace: Path) -> Rules:
    """routing.yaml of the workspace, else the one that comes with FibreFlow.

    Raises `InputError` with every problem of the file.
    """
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    own = workspace / NAME
    path = own if own.is_file() else Path(__file__).with_name(NAME)
    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from None
    return routing_rules.parse(data, str(path))


def relative_prices(ids: Mapping[Tier, str]) -> Mapping[Tier, float]:
    """What the same work costs on each tier; where a price is unknown, the usual proportion."""
    from harness.models import prices  # noqa: PLC0415 - late, for it costs start-up

    known = {tier: prices.cost_usd(model, _TYPICAL) for tier, model in ids.items()}
    usual = RoutingSettings().price
    if any(not price for price in known.values()):
        return usual
    return {tier: price or 0.0 for tier, price in known.items()}


class Funds(Protocol):
    """What may still be spent."""

    async def left(self, feature: str, feature_usd: float | None) -> tuple[float | None, ...]:
        """Dollars left of the run (and the month), and of the feature; None without a cap."""
        ...


class Router:
    """Routes the features of one run."""

    def __init__(  # noqa: PLR0913 - what routing knows; all of it is wired in one place
        self,
        *,
        settings: RoutingSettings,
        defaults: Defaults,
        funds: Funds,
        ledger: Ledger,
        clock: Clock,
        live: bool,
    ) -> None:
        self._settings = settings
        self._defaults = defaults
        self._funds = funds
        self._ledger = ledger
        self._clock = clock
        self._live = live

    async def route(
        self, feature: Feature, played: Sequence[RoundOutcome], context_chars: int = 0
    ) -> Route | GiveUp:
        """The tier of the next round. Raises `LimitReachedError` when it is the run's money,
        not the feature's, that cannot finish an attempt."""
        request = model_router.request_of(feature, context_chars // 4)
        agent = feature.agent or self._defaults.agent
        first = model_router.classify(request, agent, self._settings)
        if not played:
            return first
        run_left, feature_left = await self._funds.left(feature.id, feature.budget_usd)
        situation = Situation(first, played, request, agent)
        budget = Budget(
            left_usd=_least(run_left, feature_left),
            attempt_usd=self._prices(played),
            attempts=feature.attempts or self._defaults.attempts,
            rounds=max(1, self._defaults.rounds - len(played)),
        )
        decided = model_router.escalate(situation, budget, self._settings)
        if isinstance(decided, GiveUp):
            enough = replace(budget, left_usd=feature_left)
            if not isinstance(model_router.escalate(situation, enough, self._settings), GiveUp):
                raise LimitReachedError(decided.reason)
        return decided

    async def refusal(self, feature: Feature, tier: Tier) -> str | None:
        """Why one more attempt on this tier is not begun: its feature's money left could not
        finish it, as far as finished ones tell what it costs. Waits for attempts at work whose
        end will tell. Raises `LimitReachedError` when it is the run's money that is too little.
        """
        while (usd := self._ledger.mean_usd(tier)) is not None:
            before, begun = dict(self._ledger.running), self._ledger.begun
            left, of_feature = await self._funds.left(feature.id, feature.budget_usd)
            if self._ledger.begun != begun:
                continue  # one that has ended again would be counted nowhere
            if usd == 0:
                return None
            if left is not None and usd > left:
                raise LimitReachedError(_too_little(tier, usd, left, "the run's budget"))
            if of_feature is not None and usd > of_feature:
                return _too_little(tier, usd, of_feature, "the feature's budget")
            # What ended while the book was read is perhaps not in what it said.
            others = sum(self._ledger.mean_usd(t) or 0.0 for t in before.values())
            if left is None or usd + others <= left or not before:
                return None
            await self._clock.sleep(1.0)  # attempts take minutes
        return None

    def _prices(self, played: Sequence[RoundOutcome]) -> Mapping[Tier, float | None]:
        """From what attempts of this run cost, else scaled from the rounds of this feature."""
        if not self._live:
            return dict.fromkeys(TIERS, 0.0)
        price = self._settings.price
        known = [(one.tier, one.usd) for one in played if one.usd]
        last = known[-1] if known else None
        scaled = {t: last[1] * price[t] / price[last[0]] if last else None for t in TIERS}
        return {tier: self._ledger.mean_usd(tier) or scaled[tier] for tier in TIERS}


def _too_little(tier: Tier, usd: float, left: float, whose: str) -> str:
    return (
        f"an attempt on {tier} has cost ${usd:.4f} on average and ${left:.4f} of {whose} are "
        "left: none is begun that could not be finished"
    )


def _least(*amounts: float | None) -> float | None:
    return min((a for a in amounts if a is not None), default=None)
