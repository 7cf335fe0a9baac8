"""Turns the events of runs into a ledger of model calls, and the ledger into tables and answers.

Money that is not known is never counted as zero: each row says how many of its calls cost an
unknown amount. Prices come from the caller, so that nothing here has a price table.
"""

import calendar
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from orchestrator import events
from orchestrator.events.learning import ReflectionFinished
from orchestrator.values import TIERS, Tier, Usage

By = Literal["model", "tier", "agent", "feature", "day", "run"]
BYS: tuple[By, ...] = ("model", "tier", "agent", "feature", "day", "run")

#: Dollars of one call's usage on a model, None when the model has no known price.
Price = Callable[[str, Usage], float | None]


@dataclass(frozen=True, slots=True)
class Call:
    """One model call that answered. `day` is `YYYY-MM-DD` in UTC; `source` as in events."""

    day: str
    run: str
    feature: str
    attempt: str
    model: str
    tier: str
    agent: str
    source: str
    usage: Usage | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Calls of all runs in the order of their events; features merged, as (run, feature)."""

    calls: tuple[Call, ...] = ()
    merged: tuple[tuple[str, str], ...] = ()

    def only(self, keep: Callable[[Call], bool]) -> "Ledger":
        return replace(self, calls=tuple(call for call in self.calls if keep(call)))


def ledger(happened: Iterable[events.Event]) -> Ledger:
    """The ledger of the events of any number of runs, one run after the other."""
    calls: list[Call] = []
    merged: list[tuple[str, str]] = []
    begun: dict[tuple[str, str | None, str | None], events.AttemptStarted] = {}
    for event in happened:
        if isinstance(event, events.AttemptStarted):
            begun[event.run, event.feature, event.attempt] = event
        elif isinstance(event, events.ModelCalled | ReflectionFinished):
            of = begun.get((event.run, event.feature, event.attempt))
            calls.append(_call(event, of))
        elif isinstance(event, events.DocumentWritten):
            calls.append(_planning(event))
        elif isinstance(event, events.FeatureMerged):
            merged.append((event.run, event.feature or ""))
    return Ledger(tuple(calls), tuple(merged))


def _call(event: events.ModelCalled | ReflectionFinished, of: events.AttemptStarted | None) -> Call:
    reflects = isinstance(event, ReflectionFinished)
    source = of.source if of is not None else "live"
    named = _tier_named(event.model)
    routed = of.tier if of is not None and not reflects else ""
    return Call(
        day=event.time[:10],
        run=event.run,
        feature=event.feature or "",
        attempt=event.attempt or "",
        model=event.model,
        # What is played back was asked on the tier of its model, wherever it is routed now.
        tier=(named if source == "recorded" else "") or routed or named,
        agent="reflection" if reflects else of.agent if of is not None else "",
        source=source,
        usage=event.usage,
        cost_usd=event.cost_usd,
    )


def _planning(event: events.DocumentWritten) -> Call:
    return Call(
        day=event.time[:10],
        run=event.run,
        feature="",
        attempt="",
        model=event.model,
        tier=_tier_named(event.model),
        agent=event.role,
        source=event.source,
        usage=event.usage,
        cost_usd=event.cost_usd,
    )


def _tier_named(model: str) -> str:
    return next((tier for tier in TIERS if tier in model), "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. `unknown` calls cost nobody knows what; `usd` is without them."""

    name: str
    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    unknown: int = 0


def table(calls: Iterable[Call], by: By) -> tuple[Row, ...]:
    """Dearest first; days and runs in their order."""
    rows: dict[str, Row] = {}
    for call in calls:
        name = str(getattr(call, by)) or "(none)"
        row = rows.get(name, Row(name))
        rows[name] = Row(
            name,
            row.calls + 1,
            row.usage + (call.usage or Usage()),
            row.usd + (call.cost_usd or 0.0),
            row.unknown + (call.cost_usd is None),
        )
    if by in ("day", "run"):
        return tuple(rows[name] for name in sorted(rows))
    return tuple(sorted(rows.values(), key=lambda row: (-row.usd, row.name)))


@dataclass(frozen=True, slots=True)
class Savings:
    """What caching came to. `paid_usd` for calls with a known price, `plain_usd` for the same
    tokens without any cache; their difference may be negative. `read_share`: of all input."""

    read: int
    written: int
    paid_usd: float
    plain_usd: float
    read_share: float | None

    @property
    def saved_usd(self) -> float:
        return self.plain_usd - self.paid_usd


def savings(calls: Iterable[Call], price: Price) -> Savings:
    total, paid, plain = Usage(), 0.0, 0.0
    for call in calls:
        if call.usage is None:
            continue
        total += call.usage
        whole = call.usage.input + call.usage.cache_read + call.usage.cache_write
        without = price(call.model, Usage(input=whole, output=call.usage.output))
        if call.cost_usd is not None and without is not None:
            paid += call.cost_usd
            plain += without
    put_in = total.input + total.cache_read + total.cache_write
    share = total.cache_read / put_in if put_in else None
    return Savings(total.cache_read, total.cache_write, paid, plain, share)


def counterfactual(calls: Iterable[Call], models: Mapping[Tier, str], price: Price) -> Mapping[
    Tier, float | None
]:  # fmt: skip
    """Dollars of the same tokens on each tier's model; None where one has no known price.

    Another tier would have used other tokens and passed other exams: a comparison of prices.
    """
    found: dict[Tier, float | None] = dict.fromkeys(models, 0.0)
    for call in calls:
        for tier, model in models.items():
            so_far = found[tier]
            one = price(model, call.usage) if call.usage is not None else 0.0
            found[tier] = None if so_far is None or one is None else so_far + one
    return found


@dataclass(frozen=True, slots=True)
class Projection:
    """`spent_usd` in the month of `today` so far, `projected_usd` at the same pace by its end."""

    month: str
    spent_usd: float
    projected_usd: float
    days: int
    of_days: int


def project(calls: Iterable[Call], today: date) -> Projection:
    """Straight on: the month's spending so far by its days so far."""
    month = today.strftime("%Y-%m")
    spent = sum(c.cost_usd or 0.0 for c in calls if c.day.startswith(month))
    length = calendar.monthrange(today.year, today.month)[1]
    return Projection(month, spent, spent / today.day * length, today.day, length)


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that `fibreflow costs` shows. `per_merged_usd`: all that was spent, failed
    attempts included, by the features that were merged; None with none, or with unknown costs.
    `not_charged`: calls of recordings, which cost nothing and are not counted."""

    tables: Mapping[By, Sequence[Row]]
    total: Row
    savings: Savings
    counterfactual: Mapping[Tier, float | None]
    projection: Projection
    merged: int
    per_merged_usd: float | None
    not_charged: int


def analyze(
    book: Ledger, *, price: Price, models: Mapping[Tier, str], today: date, recorded: bool = False
) -> Analysis:
    """`recorded`: count replayed calls as well, at what they cost when they were live."""
    counted = book if recorded else book.only(lambda call: call.source == "live")
    calls = counted.calls
    total = replace(next(iter(table(calls, "run")), Row("all")), name="all")
    for row in table(calls, "run")[1:]:
        total = Row("all", total.calls + row.calls, total.usage + row.usage, total.usd + row.usd,
                    total.unknown + row.unknown)  # fmt: skip
    paid_for = {call.run for call in calls}
    merged = len({feature for feature in book.merged if feature[0] in paid_for})
    known = merged and not total.unknown
    return Analysis(
        tables={by: table(calls, by) for by in BYS},
        total=total,
        savings=savings(calls, price),
        counterfactual=counterfactual(calls, models, price),
        projection=project(calls, today),
        merged=merged,
        per_merged_usd=total.usd / merged if known else None,
        not_charged=len(book.calls) - len(calls),
    )


def to_json(found: Analysis) -> dict[str, Any]:
    """One object; tokens and dollars as numbers, None for what is not known."""

    def row(one: Row) -> dict[str, Any]:
        tokens = {name: getattr(one.usage, name) for name in Usage.__slots__}
        return {"name": one.name, "calls": one.calls, **tokens, "usd": one.usd,
                "unknown_calls": one.unknown}  # fmt: skip

    cache, ahead = found.savings, found.projection
    return {
        "total": row(found.total),
        "by": {by: [row(one) for one in rows] for by, rows in found.tables.items()},
        "cache": {
            "read_tokens": cache.read,
            "written_tokens": cache.written,
            "read_share": cache.read_share,
            "saved_usd": cache.saved_usd,
        },
        "same_tokens_usd": dict(found.counterfactual),
        "month": {
            "month": ahead.month,
            "spent_usd": ahead.spent_usd,
            "projected_usd": ahead.projected_usd,
        },
        "merged_features": found.merged,
        "usd_per_merged_feature": found.per_merged_usd,
        "calls_not_charged": found.not_charged,
    }
