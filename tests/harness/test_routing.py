"""The router's surroundings: rules on file, money left, and what attempts came to before."""

import asyncio
import json
from pathlib import Path

import pytest

from harness import routing
from harness.record import outcomes
from harness.record.budget import BudgetBook, RunPurse
from harness.record.workspace import Workspace
from harness.routing import Router, read_rules
from orchestrator import events
from orchestrator.errors import InputError, LimitReachedError
from orchestrator.model_router import Route, RoutingSettings
from orchestrator.routing.odds import Outcome, RoundOutcome
from orchestrator.runs.plan import GiveUp
from orchestrator.values import AttemptKey, Defaults, Feature
from tests.harness.agents.workbench import StepClock

FEATURE = Feature("a", "Implement it.", acceptance=("true",))
DEAR = Feature("a", "Implement it.", acceptance=("true",), budget_usd=0.3)


@pytest.fixture
def book(tmp_path: Path):
    book = BudgetBook(tmp_path / "budget.sqlite")
    yield book
    book.close()


def router(book: BudgetBook, *, usd: float | None = None, ledger=None, clock=None) -> Router:
    clock = clock or StepClock()
    return Router(
        settings=RoutingSettings(),
        defaults=Defaults(),
        funds=RunPurse(book, clock, run="r", run_usd=usd),
        ledger=ledger or outcomes.Ledger(),
        clock=clock,
        live=True,
    )


def began(name: str, tier: str = "haiku", source: str = "live") -> events.Event:
    return events.AttemptStarted(
        feature="a", attempt=name, model="m", agent="builtin", tier=tier, source=source
    )


def ended(name: str, usd: float | None, ending: str = "submitted") -> events.Event:
    return events.AttemptFinished(
        feature="a", attempt=name, ending=ending, reason="", turns=1, seconds=1.0,
        cost_usd=usd, patch=True,
    )  # fmt: skip


def judged(name: str, passed: bool) -> events.Event:
    return events.VerificationFinished(
        feature="a", attempt=name, usable=True, passed=passed, checks_passed=0, checks=1,
        coverage=None, quality=None, seconds=None,
    )  # fmt: skip


def ledger_of(*costs: float) -> outcomes.Ledger:
    ledger = outcomes.Ledger()
    for number, usd in enumerate(costs):
        ledger.add(began(f"r1-a{number:02d}"))
        ledger.add(ended(f"r1-a{number:02d}", usd))
    return ledger


# ------------------------------------------------------------------------- the file


def test_the_workspace_may_have_its_own_rules(tmp_path: Path) -> None:
    shipped = read_rules(tmp_path)
    assert shipped.agents["vps-monitor"] == "haiku"
    (tmp_path / routing.NAME).write_text("agents: {mine: opus}\n")
    assert read_rules(tmp_path).agents == {"mine": "opus"}
    (tmp_path / routing.NAME).write_text("agents: {mine: [}\n")
    with pytest.raises(InputError, match=r"routing\.yaml"):
        read_rules(tmp_path)


def test_the_figures_of_the_file_are_those_in_code(tmp_path: Path) -> None:
    from orchestrator.routing.rules import CHANCE

    assert read_rules(tmp_path).chance == CHANCE


# ------------------------------------------------------------------------- the money


async def test_the_runs_money_stops_the_run_and_the_features_gives_it_up(book) -> None:
    played = [RoundOutcome("haiku", 1, usd=0.05)]  # sonnet then costs a dollar
    with pytest.raises(LimitReachedError):
        await router(book, usd=0.5).route(FEATURE, played)
    assert isinstance(await router(book).route(DEAR, played), GiveUp)
    route = await router(book, usd=50.0).route(FEATURE, played)
    assert isinstance(route, Route) and route.tier == "sonnet"


async def test_no_attempt_begins_that_could_not_be_finished(book) -> None:
    ledger = ledger_of(0.4, 0.5, 0.6)
    assert await router(book, usd=0.6, ledger=ledger).refusal(FEATURE, "haiku") is None
    with pytest.raises(LimitReachedError, match="none is begun"):
        await router(book, usd=0.4, ledger=ledger).refusal(FEATURE, "haiku")
    reason = await router(book, usd=9.0, ledger=ledger).refusal(DEAR, "haiku")
    assert reason is not None and "feature's budget" in reason
    assert await router(book, usd=0.4, ledger=ledger).refusal(FEATURE, "opus") is None  # unknown


async def test_it_waits_for_attempts_at_work_whose_end_will_tell(book) -> None:
    ledger = ledger_of(0.5, 0.5, 0.5)
    ledger.add(began("r1-a09"))

    class Clock(StepClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            ledger.add(ended("r1-a09", 0.1))

    clock = Clock()
    assert await router(book, usd=0.8, ledger=ledger, clock=clock).refusal(FEATURE, "haiku") is None
    assert clock.slept == [1.0]


async def test_what_is_left_is_what_is_neither_spent_nor_unknown(book) -> None:
    purse = RunPurse(book, StepClock(), run="r", run_usd=1.0)
    key = AttemptKey("a", 1, 1)
    for call, worst, actual in (("t1", 0.2, 0.1), ("t2", 0.3, None)):
        await purse.reserve(key, call, worst, feature_usd=None, attempt_usd=None)
        await purse.settle(key, call, actual)
    run, feature = await purse.left("a", 0.5)
    assert (run, feature) == (pytest.approx(0.6), pytest.approx(0.1))
    assert await purse.left("b", None) == (pytest.approx(0.6), None)


# ----------------------------------------------------------------------- the history


def journal(workspace: Workspace, run: str, *happened: events.Event) -> None:
    path = workspace.events(run)
    path.parent.mkdir(parents=True)
    lines = [json.dumps(events.to_json(e), separators=(",", ":")) for e in happened]
    path.write_text("\n".join([*lines, '{"type":"AttemptStarted", torn']))


def test_earlier_runs_are_read_and_recordings_teach_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    opened = events.RoundStarted(
        feature="a", round=1, attempts=2, commit="c", tier="haiku", category="web"
    )
    journal(
        workspace, "20260101-000000-aaaa", opened,
        began("r1-a01"), ended("r1-a01", 0.5), judged("r1-a01", True),
        began("r1-a02", source="scripted"), ended("r1-a02", 0.0), judged("r1-a02", True),
        began("r1-a03"),
    )  # fmt: skip
    journal(workspace, "20260102-000000-bbbb", opened, began("r1-a01"), judged("r1-a01", False))
    names = [run.id for run in workspace.runs()]
    assert len(names) == 2
    ledger = outcomes.read(workspace, runs=50, but="")
    assert ledger.outcomes == [
        Outcome("haiku", "web", "builtin", True),
        Outcome("haiku", "web", "builtin", False),
    ]
    assert ledger.costs["haiku"] == [0.5]
    assert not ledger.running
    newest = outcomes.read(workspace, runs=1, but="")
    assert [o.passed for o in newest.outcomes] == [False]
    assert outcomes.read(workspace, runs=1, but=names[0]).outcomes[0].passed


def test_an_unknown_or_broken_off_cost_is_no_price() -> None:
    ledger = ledger_of(0.1, 0.1)
    for number, (usd, ending) in enumerate([(None, "submitted"), (9.0, "error"), (9.0, "limit")]):
        ledger.add(began(f"r2-a{number:02d}"))
        ledger.add(ended(f"r2-a{number:02d}", usd, ending))
    assert ledger.mean_usd("haiku") is None
    assert ledger_of(0.1, 0.2, 0.3).mean_usd("haiku") == pytest.approx(0.2)


def test_many_at_once_are_counted_while_they_run(book) -> None:
    ledger = ledger_of(0.5, 0.5, 0.5)
    clock = StepClock()

    async def begin(number: int) -> bool:
        try:
            await one.refusal(FEATURE, "haiku")
        except LimitReachedError:
            return False
        ledger.add(began(f"r3-a{number:02d}"))
        key = AttemptKey("a", 3, number + 1)
        await purse.reserve(key, "t1", 0.5, feature_usd=None, attempt_usd=None)
        await purse.settle(key, "t1", 0.5)
        ledger.add(ended(f"r3-a{number:02d}", 0.5))
        return True

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(begin(n) for n in range(8)))

    one = router(book, usd=1.7, ledger=ledger, clock=clock)
    purse = RunPurse(book, clock, run="r", run_usd=1.7)
    assert sum(asyncio.run(all_of_them())) == 3
