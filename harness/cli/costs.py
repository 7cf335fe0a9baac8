"""`fibreflow costs`: what a workspace's runs have cost, by what, and what else might have been."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from harness.cli.cost_flags import CostOptions
from harness.fleet import books
from harness.models import prices
from harness.record.journal import all_events
from harness.record.workspace import Workspace
from orchestrator.errors import InputError, MachineError
from orchestrator.reporting import cost_analysis
from orchestrator.reporting.cost_analysis import Analysis, Call, Ledger, Row
from orchestrator.reporting.wording import money, one_line
from orchestrator.values import TIERS, Usage

#: Rows of a table on the screen; the CSV has all calls.
_MOST = 20


def show(workspace: Workspace, options: CostOptions) -> str:
    """The text to print, after writing the files that were asked for.

    Raises `InputError` when nothing has run here, `MachineError` when no chart can be drawn.
    """
    runs = workspace.runs()
    if not runs:
        raise InputError(f"{workspace.root}: no run has begun here, so nothing has been paid for")
    book = cost_analysis.ledger(all_events(workspace))
    found = cost_analysis.analyze(
        book,
        price=prices.cost_usd,
        models={tier: prices.model_id(tier) for tier in TIERS},
        today=datetime.now(UTC).date(),
        recorded=options.recorded,
    )
    if options.csv is not None:
        _write_csv(options.csv, book)
    if options.png is not None:
        _draw(options.png, found)
    if options.json:
        return json.dumps(cost_analysis.to_json(found) | {"book": _book(workspace)})
    return render(found, _book(workspace))


def _book(workspace: Workspace) -> dict[str, float] | None:
    """What the transactional book says of all runs, None when it was never opened."""
    found = books.sums(workspace)
    if found is None:
        return None
    spent, reserved = found
    return {"spent_usd": spent, "unknown_usd": reserved}


def render(found: Analysis, book: dict[str, float] | None) -> str:
    """Tables for a terminal of 80 columns."""
    parts = [_summary(found, book)]
    for by, rows in found.tables.items():
        if rows:
            parts.append("\n".join(_lines(by, rows)))
    return "\n\n".join(parts)


def _summary(found: Analysis, book: dict[str, float] | None) -> str:
    cache, ahead = found.savings, found.projection
    share = "" if cache.read_share is None else f", {cache.read_share:.0%} of the input from cache"
    lines = [f"{money(found.total.usd, bool(found.total.unknown))} for {found.total.calls} calls"
             f"{share}, caching saved {_signed(cache.saved_usd)}"]  # fmt: skip
    if found.total.unknown:
        lines.append(f"{found.total.unknown} calls of unknown cost are in no sum")
    if found.per_merged_usd is not None:
        lines.append(f"{money(found.per_merged_usd)} for each of {found.merged} merged features")
    same = [
        f"all-{tier} {money(usd) if usd is not None else 'unknown'}"
        for tier, usd in found.counterfactual.items()
    ]
    lines.append("the same tokens at one tier's prices: " + ", ".join(same))
    lines.append(
        f"{ahead.month}: {money(ahead.spent_usd)} in {ahead.days} of {ahead.of_days} days, "
        f"{money(ahead.projected_usd)} by its end at this pace"
    )
    if book is not None:
        lines.append(
            f"the budget's book: {money(book['spent_usd'])} spent, "
            f"{money(book['unknown_usd'])} kept for calls of unknown cost"
        )
    if found.not_charged:
        lines.append(
            f"{found.not_charged} calls of recordings cost nothing and are left out (--recorded)"
        )
    return "\n".join(lines)


def _signed(usd: float) -> str:
    return f"-{money(-usd)}" if usd < 0 else money(usd)


def _lines(by: str, rows: Sequence[Row]) -> Iterator[str]:
    yield f"{'by ' + by:28} {'calls':>6} {'input':>9} {'cached':>9} {'output':>8} {'cost':>14}"
    for row in rows[:_MOST]:
        usage, cost = row.usage, money(row.usd, bool(row.unknown))
        put_in = usage.input + usage.cache_write
        yield (
            f"{one_line(row.name, 28):28} {row.calls:6} {put_in:9} {usage.cache_read:9} "
            f"{usage.output:8} {cost:>14}"
        )
    if len(rows) > _MOST:
        yield f"and {len(rows) - _MOST} more"


def _write_csv(path: Path, book: Ledger) -> None:
    """One line per call; an empty field is what is not known."""
    plain = [f.name for f in fields(Call) if f.name not in ("usage", "cost_usd")]
    tokens = [f.name for f in fields(Usage)]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow([*plain, *tokens, "cost_usd"])
            for call in book.calls:
                counts = [getattr(call.usage, name) if call.usage else "" for name in tokens]
                cost = "" if call.cost_usd is None else f"{call.cost_usd:.9f}"
                out.writerow([*(_cell(getattr(call, name)) for name in plain), *counts, cost])
    except OSError as error:
        raise InputError(f"--csv {path}: {error.strerror}") from error


def _cell(text: str) -> str:
    """A spreadsheet would run what begins like a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _draw(path: Path, found: Analysis) -> None:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise MachineError(
            "--png needs matplotlib: pip install 'fibreflow[charts]' (--csv needs nothing)"
        ) from error

    figure = Figure(figsize=(11, 7), layout="constrained")
    days, tiers, models, features = figure.subplots(2, 2).flat
    _bars(days, "dollars a day", found.tables["day"][-31:])
    _bars(tiers, "dollars by tier", found.tables["tier"])
    _bars(features, "dollars by feature", found.tables["feature"][:12])
    same = [(f"all-{t}", usd) for t, usd in found.counterfactual.items() if usd is not None]
    _bars(
        models,
        "as routed, and the same tokens at one tier",
        [Row("as routed", usd=found.total.usd), *(Row(name, usd=usd) for name, usd in same)],
    )
    try:
        figure.savefig(path, format="png", dpi=110)
    except OSError as error:
        raise InputError(f"--png {path}: {error.strerror}") from error


def _bars(axes: "object", title: str, rows: Sequence[Row]) -> None:
    axes.barh([one_line(row.name, 24) for row in rows], [row.usd for row in rows])  # type: ignore[attr-defined]
    axes.set_title(title)  # type: ignore[attr-defined]
    axes.invert_yaxis()  # type: ignore[attr-defined]
