"""The user's word, then rules that can be read, then a cascade that stops where it cannot pay."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness import routing
from orchestrator.model_router import (
    Budget,
    GiveUp,
    Request,
    Route,
    RoutingSettings,
    Situation,
    classify,
    escalate,
    possible,
    request_of,
)
from orchestrator.routing.odds import Outcome, RoundOutcome, count
from orchestrator.routing.rules import Rules, parse
from orchestrator.values import TIERS, Defaults, Feature, Tier

FILE = Path(routing.__file__).with_name(routing.NAME)
RULES = parse(yaml.safe_load(FILE.read_text("utf-8")), "routing.yaml")
SETTINGS = RoutingSettings(RULES)
PRICES: dict[Tier, float | None] = {"haiku": 0.03, "sonnet": 0.5, "opus": 1.0}


def tier(text: str, agent: str = "builtin", **more: Any) -> Tier:
    return classify(Request(text, **more), agent, SETTINGS).tier


# ------------------------------------------------------------------------ the rules


def test_each_tier_has_twenty_phrases_and_more() -> None:
    assert all(len(set(RULES.words[t])) >= 20 for t in TIERS)
    phrases = [p for t in TIERS for p in RULES.words[t]]
    assert len(phrases) == len(set(phrases))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("git status", "haiku"),
        ("Check whether the file /etc/hosts exists", "haiku"),
        ("List the open pull requests of this week, with their authors and ages", "haiku"),
        ("Implement pagination for the /orders endpoint, with cursors and a page size", "sonnet"),
        ("Debug why the import job drops every tenth row of the spreadsheet", "sonnet"),
        ("Design how the services share one login", "opus"),
        ("Deploy the billing service to production", "opus"),
        ("Make the decision on this critical payment path and say why", "opus"),
        ("hello", "haiku"),
        ("x " * 400, "sonnet"),
    ],
)
def test_words_and_length_decide(text: str, wanted: Tier) -> None:
    assert tier(text) == wanted


def test_a_short_request_is_for_haiku_first_and_never_hides_danger() -> None:
    assert tier("Test status: list the failures") == "haiku"
    assert tier("Test status: list the failures" + " of the night's build" * 3) == "sonnet"
    assert tier("deploy to production") == "opus"


@pytest.mark.parametrize("text", ["", " ", "\n", "İ" * 99, "a" * 100_000, "`*...*`", "\x00"])
def test_any_text_has_a_route(text: str) -> None:
    assert tier(text) in TIERS


def test_agents_have_rules() -> None:
    assert tier("Implement a parser for the frames", "vps-monitor") == "haiku"
    assert tier("status", "vlm-evaluator") == "sonnet"


def test_who_is_heard_first() -> None:
    danger = "Deploy the new schema to production"
    said = RoutingSettings(RULES, override="haiku", default="sonnet")
    route = classify(Request(danger, tier="opus"), "vlm-evaluator", said)
    assert (route.tier, route.fixed) == ("haiku", True)
    assert "--model" in route.reasons[0]
    listed = RoutingSettings(RULES, default="sonnet")
    assert classify(Request(danger, tier="haiku"), "vlm-evaluator", listed).tier == "haiku"
    assert classify(Request("status"), "vps-monitor", listed).tier == "haiku"
    assert classify(Request("status"), "builtin", listed).tier == "sonnet"


def test_a_large_prompt_is_not_for_haiku() -> None:
    large = RULES.size.large_prompt_tokens
    assert tier("git status", prompt_tokens=large - 1) == "haiku"
    route = classify(Request("git status", prompt_tokens=large), "builtin", SETTINGS)
    assert route.tier == "sonnet"
    assert str(large) in route.reasons[0]


def test_checks_allow_a_cheaper_start_but_not_below_what_is_dangerous() -> None:
    work = "Implement pagination for the orders endpoint, with cursors and a page size"
    assert tier(work) == "sonnet"
    route = classify(Request(work, checked=True), "builtin", SETTINGS)
    assert (route.tier, route.asked) == ("haiku", "sonnet")
    assert any("`implement`" in reason.lower() for reason in route.reasons)
    assert tier("Migrate the production database", checked=True) == "opus"
    never = RoutingSettings(RULES.model_copy(update={"try_cheaper_where_checked": False}))
    assert classify(Request(work, checked=True), "builtin", never).tier == "sonnet"


def test_every_route_says_why() -> None:
    for text in ("", "status", "Implement it", "design"):
        assert all(classify(Request(text), "builtin", SETTINGS).reasons)


def test_a_feature_is_asked_about_by_its_words_and_checks() -> None:
    feature = Feature("a", "Do it.", category="c", steps=("Design it",), acceptance=("true",))
    request = request_of(feature, 9)
    assert (request.category, request.checked, request.prompt_tokens) == ("c", True, 9)
    assert classify(request, "builtin", SETTINGS).tier == "opus"


# ------------------------------------------------------------------ what was learned


def past(tier: Tier, passed: int, failed: int, category: str = "web") -> list[Outcome]:
    return [Outcome(tier, category, "builtin", n < passed) for n in range(passed + failed)]


def test_history_counts_from_a_minimum_on_and_says_so() -> None:
    text = "Implement pagination for the orders endpoint, with cursors and a page size"
    request = Request(text, category="web", checked=True)

    def route(outcomes: list[Outcome]) -> Route:
        return classify(request, "builtin", RoutingSettings(RULES, past=count(outcomes)))

    least = RULES.history.least_attempts
    assert "history" not in " ".join(route(past("haiku", 0, least - 1)).reasons)
    hopeless = route(past("haiku", 0, 400))
    assert hopeless.tier == "sonnet"
    assert "0 of 400 on haiku passed" in " ".join(hopeless.reasons)
    assert route(past("haiku", 200, 200)).tier == "haiku"
    assert route(past("haiku", 0, 400, category="other")).tier == "haiku"


def test_history_moves_no_danger_down() -> None:
    learned = RoutingSettings(RULES, past=count(past("haiku", 500, 0)))
    request = Request("Migrate the production database", category="web", checked=True)
    assert classify(request, "builtin", learned).tier == "opus"


# ----------------------------------------------------------------------- the cascade


def situation(*played: RoundOutcome, start: Tier = "haiku", fixed: bool = False) -> Situation:
    return Situation(Route(start, ("why",), fixed=fixed, asked="sonnet"), played)


def failed(tier: Tier, attempts: int = 1, progress: float = 0.0) -> RoundOutcome:
    return RoundOutcome(tier, attempts, progress=progress)


def go_on(at: Situation, budget: Budget) -> Route:
    route = escalate(at, budget, SETTINGS)
    assert isinstance(route, Route), route
    return route


def test_a_failed_round_goes_up_and_the_last_tier_is_asked_again() -> None:
    dear = Budget(None, {"haiku": 0.5, "sonnet": 5.0, "opus": 15.0})
    assert go_on(situation(failed("haiku")), dear).tier == "sonnet"
    assert go_on(situation(failed("haiku"), failed("sonnet")), dear).tier == "opus"
    assert go_on(situation(failed("opus"), start="opus"), dear).tier == "opus"


def test_where_rounds_are_few_a_tier_that_adds_little_is_passed_by() -> None:
    """A feature is worth $50, and two rounds of opus, which are affordable, pass likelier."""
    assert go_on(situation(failed("haiku")), Budget(None, PRICES)).tier == "opus"
    nearly_the_same: dict[Tier, float | None] = {"haiku": 0.03, "sonnet": 0.5, "opus": 0.51}
    last = Budget(None, nearly_the_same, rounds=1)
    assert go_on(situation(failed("haiku")), last).tier == "opus"


@pytest.mark.parametrize("nothing", [0.0, None])
def test_where_nothing_is_known_to_cost_anything_it_climbs_slowly(nothing: float | None) -> None:
    budget = Budget(None, dict.fromkeys(TIERS, nothing))
    assert go_on(situation(failed("haiku")), budget).tier == "sonnet"


def test_who_said_model_gets_that_model() -> None:
    route = go_on(situation(failed("haiku"), fixed=True), Budget(None, PRICES))
    assert (route.tier, route.fixed) == ("haiku", True)


def test_a_merge_that_was_refused_is_no_reason_for_a_dearer_tier() -> None:
    played = RoundOutcome("haiku", 3, passed=2)
    route = go_on(situation(played), Budget(None, PRICES))
    assert route.tier == "haiku"
    assert "could not be merged" in route.reasons[0]


def test_no_attempt_that_the_money_left_cannot_finish() -> None:
    route = go_on(situation(failed("haiku")), Budget(0.7, PRICES, attempts=15))
    assert (route.tier, route.attempts) == ("sonnet", 1)
    end = escalate(situation(failed("haiku")), Budget(0.4, PRICES), SETTINGS)
    assert isinstance(end, GiveUp)
    assert "$0.40" in end.reason


def test_a_hopeless_feature_is_given_up_and_one_nearly_done_is_not() -> None:
    played = [failed("haiku", 15), failed("sonnet", 15), failed("opus", 15)]
    end = escalate(situation(*played), Budget(None, PRICES, attempts=15), SETTINGS)
    assert isinstance(end, GiveUp)
    assert "give_up.worth_usd" in end.reason
    near = [failed("haiku", 15, 0.9), failed("sonnet", 15, 0.9), failed("opus", 15, 0.9)]
    assert isinstance(escalate(situation(*near), Budget(None, PRICES, 15), SETTINGS), Route)
    cheap = Rules(**{**RULES.model_dump(), "give_up": {"worth_usd": 1000.0}})
    again = escalate(situation(*played), Budget(None, PRICES, 15), RoutingSettings(cheap))
    assert isinstance(again, Route)


def test_an_unknown_price_is_left_to_the_book() -> None:
    unknown: dict[Tier, float | None] = dict.fromkeys(TIERS)
    assert go_on(situation(failed("haiku")), Budget(1.0, unknown)).tier == "sonnet"


@given(
    rounds=st.lists(
        st.builds(RoundOutcome, st.sampled_from(TIERS), st.integers(1, 30)), min_size=1, max_size=6
    ),
    left=st.none() | st.floats(0, 100),
    attempts=st.integers(1, 30),
)
def test_it_never_goes_down_and_never_beyond_the_money(
    rounds: list[RoundOutcome], left: float | None, attempts: int
) -> None:
    decided = escalate(situation(*rounds), Budget(left, PRICES, attempts), SETTINGS)
    if isinstance(decided, GiveUp):
        assert decided.reason
        return
    assert TIERS.index(decided.tier) >= TIERS.index(rounds[-1].tier)
    assert decided.attempts is not None and 1 <= decided.attempts <= attempts
    price = PRICES[decided.tier]
    assert left is None or (price is not None and decided.attempts * price <= left)


def test_the_tiers_that_a_run_may_use() -> None:
    assert possible(Route("haiku", ()), Defaults(rounds=3)) == TIERS
    assert possible(Route("sonnet", ()), Defaults(rounds=3)) == ("sonnet", "opus")
    assert possible(Route("sonnet", ()), Defaults(rounds=1)) == ("sonnet",)
    assert possible(Route("haiku", (), fixed=True), Defaults(rounds=3)) == ("haiku",)
