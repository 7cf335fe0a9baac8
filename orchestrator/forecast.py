"""What a run would do, before it does it: order, attempts, the worst that it can cost, warnings."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from posixpath import normpath

from orchestrator.graph import Graph
from orchestrator.values import Feature, FeatureList
from orchestrator.verify.acceptance import is_protected, matches
from orchestrator.verify.exams import is_exam, is_to_be_made
from orchestrator.verify.naming import files_named, folders_of

#: Terminals are this wide at least.
WIDTH = 80


@dataclass(frozen=True, slots=True)
class Planned:
    """One feature's share. `attempts` is the most per round; `cap` all rounds together.

    `cost_usd` is the worst case if all the others cost nothing: never more than the run's budget,
    None when the price is unknown and no budget bounds it.
    """

    id: str
    depends_on: tuple[str, ...]
    attempts: int
    cap: int
    cost_usd: float | None
    checks: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The plan of a run. `order` is the order one feature at a time would take; `levels` could
    run side by side. `cost_usd` None is unknown; `budget_usd` None is no cap; `uncapped_usd` is
    the cost if there were none.
    """

    order: tuple[Planned, ...]
    levels: tuple[tuple[str, ...], ...]
    critical_path: tuple[str, ...]
    done: tuple[str, ...]
    skipped: tuple[str, ...]
    attempts: int
    cap: int
    rounds: int
    workers: int
    cost_usd: float | None
    budget_usd: float | None
    uncapped_usd: float | None
    warnings: tuple[str, ...]


def forecast(  # noqa: PLR0913 - one question about one list; all but two have a default
    feature_list: FeatureList,
    *,
    worst_case_attempt_usd: float | None,
    workers: int,
    existing_files: frozenset[str] = frozenset(),
    done: Collection[str] | None = None,
    only: Collection[str] | None = None,
) -> Forecast:
    """The plan for what is left to do.

    `worst_case_attempt_usd`: the most one attempt can cost, None when unknown, 0.0 for recordings.
    `existing_files`: paths in the base. `done`: ids already integrated; by default those whose
    `passes` is true. `only`: ids asked for; the others are skipped. Raises `InputError` as
    `Graph` does.
    """
    graph = Graph(feature_list.features)
    finished = frozenset(
        done if done is not None else (f.id for f in feature_list.features if f.passes)
    )
    left_out = frozenset(i for i in graph.ids if only is not None and i not in only) - finished
    away = finished | left_out
    rest = [i for i in graph.order(finished) if i not in away]
    order = tuple(_planned(feature_list, graph.feature(i), worst_case_attempt_usd) for i in rest)
    free = replace(feature_list, defaults=replace(feature_list.defaults, budget_usd=None))
    uncapped = tuple(_planned(free, graph.feature(i), worst_case_attempt_usd) for i in rest)
    path = graph.critical_path(lambda i: 0.0 if i in away else 1.0)
    return Forecast(
        order=order,
        levels=graph.waves(away),
        critical_path=tuple(i for i in path if i not in away),
        done=tuple(i for i in graph.ids if i in finished),
        skipped=tuple(i for i in graph.ids if i in left_out),
        attempts=sum(p.attempts for p in order),
        cap=sum(p.cap for p in order),
        rounds=feature_list.defaults.rounds,
        workers=workers,
        cost_usd=_total(order, feature_list.defaults.budget_usd),
        budget_usd=feature_list.defaults.budget_usd,
        uncapped_usd=_total(uncapped, None),
        warnings=_warnings(feature_list, graph, rest, left_out, existing_files),
    )


def _planned(feature_list: FeatureList, feature: Feature, price: float | None) -> Planned:
    attempts = feature.attempts or feature_list.defaults.attempts
    cap = attempts * feature_list.defaults.rounds
    alone = None if price is None else cap * price
    bounds = [feature.budget_usd, feature_list.defaults.budget_usd, alone]
    known = [b for b in bounds if b is not None]
    return Planned(
        id=feature.id,
        depends_on=feature.depends_on,
        attempts=attempts,
        cap=cap,
        cost_usd=min(known) if known else None,
        checks=len(feature.acceptance),
    )


def _total(order: tuple[Planned, ...], budget: float | None) -> float | None:
    """Never more than the budget, because spending is reserved before it happens."""
    costs = [p.cost_usd for p in order]
    known = [c for c in costs if c is not None]
    total = sum(known) if len(known) == len(costs) else None
    bounds = [b for b in (total, budget) if b is not None]
    return min(bounds) if bounds else None


# -------------------------------------------------------------------------- warnings


def _warnings(
    feature_list: FeatureList,
    graph: Graph,
    rest: list[str],
    left_out: frozenset[str],
    existing_files: frozenset[str],
) -> tuple[str, ...]:
    known = existing_files | folders_of(existing_files)
    found: list[str] = []
    unjudged = [i for i in rest if not graph.feature(i).acceptance]
    for id_ in rest:
        found += _exam_warnings(graph.feature(id_), known, existing_files)
        held_by = [need for need in graph.depends_on(id_) if need in left_out]
        if held_by:
            found.append(
                f"{id_}: waits for {', '.join(held_by)}, which is not among the features asked for"
                " and not merged; it will be blocked"
            )
    found += _quorum_warnings(feature_list, [graph.feature(i) for i in rest])
    if unjudged and feature_list.project.test is None:
        found.append(
            f"{_few(unjudged)}: no acceptance commands; will end in review unless the project's"
            " own tests decide"
        )
    given = feature_list.project.protected
    if given is not None and not is_protected("conftest.py", given):
        found.append(
            "project.protected takes the place of the standard list and leaves out conftest.py:"
            " an attempt could skip tests there"
        )
    return tuple(found)


def _quorum_warnings(feature_list: FeatureList, rest: list[Feature]) -> list[str]:
    quorum, attempts = feature_list.defaults.quorum, feature_list.defaults.attempts
    most = max((f.attempts or attempts for f in rest), default=attempts)
    if quorum is None or quorum <= most:
        return []
    return [
        f"defaults.quorum is {quorum}, above the attempts of any feature ({most}): no round is"
        " decided before its last attempt has ended"
    ]


def _exam_warnings(feature: Feature, known: frozenset[str], files: frozenset[str]) -> Iterator[str]:
    scope = {normpath(glob) for glob in feature.scope}
    named = {path: command for command in feature.acceptance for path in files_named(command)}
    for path, command in named.items():
        if path in scope or "..." in path:  # as in `go test ./pkg/...`
            continue
        if files and not _exists(path, known) and not is_to_be_made(path, command, files):
            yield (
                f"{feature.id}: acceptance names {path}, which is not on the branch: commit it"
                " first, for no attempt may write its own exam"
            )
        elif path in files and not is_exam(path):
            yield (
                f"{feature.id}: acceptance names {path}, which no attempt may change therefore;"
                " if the feature shall change it, name it in the feature's scope"
            )


def _exists(path: str, known: frozenset[str]) -> bool:
    if path in known or "{" in path:  # what the shell makes of braces is not guessed
        return True
    return any(c in path for c in "*?[") and any(matches(name, path) for name in known)


def _few(ids: list[str]) -> str:
    shown = ", ".join(ids[:5])
    return shown if len(ids) <= 5 else f"{shown} and {len(ids) - 5} more"


# -------------------------------------------------------------------------- as text


def render(plan: Forecast) -> str:
    """The forecast for a terminal: plain lines of at most 80 columns where ids allow it."""
    return "\n".join(
        [*_head(plan), *_table(plan), *_levels(plan), *_path_lines(plan), *_notes(plan)]
    )


def dollars(amount: float | None) -> str:
    """`unknown` for None: an unknown cost is never shown as zero."""
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.4f}"


def _head(plan: Forecast) -> list[str]:
    if not plan.order:
        return ["Nothing to do: every feature is merged or left out."]
    budget = "none set" if plan.budget_usd is None else dollars(plan.budget_usd)
    if plan.cost_usd != plan.uncapped_usd:
        budget += f", which caps each (without it {dollars(plan.uncapped_usd)})"
    return [
        f"Plan: {_count(len(plan.order), 'feature')} in {_count(len(plan.levels), 'level')}"
        + (f", {len(plan.done)} merged already" if plan.done else "")
        + (f", {len(plan.skipped)} left out" if plan.skipped else ""),
        f"  attempts   {plan.attempts} in first rounds, {plan.cap} at most"
        f" ({_count(plan.rounds, 'round')}), {plan.workers} at once",
        f"  worst cost {dollars(plan.cost_usd)}, budget {budget}",
    ]


def _table(plan: Forecast) -> list[str]:
    if not plan.order:
        return []
    width = min(max(len("feature"), *(len(p.id) for p in plan.order)), 30)
    head = f"  {'#':>4}  {'feature':<{width}}  {'attempts':>8}  {'checks':>6}  {'worst':>9}  after"
    lines = ["", "Order, most urgent first", head]
    for number, p in enumerate(plan.order, 1):
        start = (
            f"  {number:>4}  {_cut(p.id, width):<{width}}  {p.attempts:>8}  {p.checks or '-':>6}"
            f"  {dollars(p.cost_usd):>9}  "
        )
        needs = ", ".join(p.depends_on) or "-"
        lines.append(start + _cut(needs, max(WIDTH - len(start), 8)))
    return lines


def _levels(plan: Forecast) -> list[str]:
    if not plan.levels:
        return []
    lines = ["", "Side by side"]
    for number, level in enumerate(plan.levels, 1):
        lines += _wrapped(f"  {number:>4}  ", ", ".join(level))
    return lines


def _path_lines(plan: Forecast) -> list[str]:
    if not plan.critical_path:
        return []
    count = _count(len(plan.critical_path), "feature")
    return [
        "",
        f"Critical path, {count}",
        *_wrapped("  ", " -> ".join(plan.critical_path)),
    ]


def _notes(plan: Forecast) -> list[str]:
    if not plan.warnings:
        return []
    return ["", "Warnings", *(line for w in plan.warnings for line in _wrapped("  ! ", w))]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _cut(words: str, width: int) -> str:
    return words if len(words) <= width else words[: width - 3] + "..."


def _wrapped(lead: str, words: str) -> list[str]:
    """Lines of at most `WIDTH`, broken at blanks, later ones indented below the first."""
    lines, line = [], lead
    for word in words.split(" "):
        if len(line) + len(word) > WIDTH and line.strip() != lead.strip():
            lines.append(line.rstrip())
            line = " " * len(lead)
        line += f"{word} "
    return [*lines, line.rstrip()]
