"""Turns what tools saw before and after a patch into a quality of 0..1.

A weighted mean of the parts that were measured; one that was not is left out, and never zero. With
n the lines that the patch adds to product code, at least 10:

    part         weight   1 is best
    lint             30   1 / (1 + 10 x new findings / n)        one per ten added lines is 0.5
    complexity       20   1 / (1 + excess / 10)                  excess over 10, or over before
    security         20   1 / (1 + 10 x new points / n)          a finding has 1, 3 or 5 by severity
    types            15   1 / (1 + 10 x new errors / n)
    duplication      10   1 - new duplicated lines / n
    size              5   1 / (1 + n / 500)

Only what the patch made worse counts, file by file, so an old and ugly file does not punish its
mender. Lint weighs more than complexity, and size least, because complexity and shortness alone
predict correctness slightly worse than chance: code that is incomplete is also short. Ten is the
usual ceiling of McCabe complexity; six lines are a duplicate as in Sonar's and pylint's sense,
between their ten and four.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "lint": 30.0,
        "complexity": 20.0,
        "security": 20.0,
        "types": 15.0,
        "duplication": 10.0,
        "size": 5.0,
    }
)
CEILING = 10
#: Findings are counted against at least this many lines: one flaw in a two-line fix is no ruin.
MIN_LINES = 10
#: As many added lines make half of the size's share.
MANY_LINES = 500
#: So many lines in a row that stand elsewhere too are a duplicate.
RUN = 6


@dataclass(frozen=True)
class FileMeasure:
    """One file: `lint` counts findings, `security` their points, `types` errors; `complexity` is
    by function name. None is not measured."""

    path: str
    lint: int | None = None
    complexity: Mapping[str, int] | None = None
    security: int | None = None
    types: int | None = None

    @classmethod
    def of(cls, path: str, found: Mapping[str, Any]) -> "FileMeasure":
        """From a tool's JSON. Raises `ValueError`, `KeyError`, `TypeError` for another shape."""
        complexity = found["complexity"]
        if complexity is not None:
            complexity = {str(name): int(value) for name, value in complexity.items()}
        return cls(path, _count(found["lint"]), complexity, _count(found["security"]))


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def new(what: str, before: Sequence[FileMeasure], after: Sequence[FileMeasure]) -> int | None:
    """How much of `what` (lint, security, types) the patch added, file by file: mending one file
    buys no flaw in another. None when nothing of it was measured on what is there now."""
    old = {m.path: getattr(m, what) or 0 for m in before}
    now = {m.path: value for m in after if (value := getattr(m, what)) is not None}
    return sum(max(0, n - old.get(path, 0)) for path, n in now.items()) if now else None


def excess_complexity(before: Sequence[FileMeasure], after: Sequence[FileMeasure]) -> int | None:
    """Sum over functions of what exceeds the ceiling and what the function had before."""
    old = {m.path: m.complexity or {} for m in before}
    now = {m.path: m.complexity for m in after if m.complexity is not None}
    if not now:
        return None
    return sum(
        max(0, value - max(CEILING, old.get(path, {}).get(name, 0)))
        for path, functions in now.items()
        for name, value in functions.items()
    )


def duplicated(texts: Sequence[str]) -> int:
    """Lines that belong to `RUN` in a row which stand elsewhere in these texts too, blank lines,
    comments and indentation apart."""
    rows = [
        [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]
        for text in texts
    ]
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for t, row in enumerate(rows):
        for at in range(len(row) - RUN + 1):
            places.setdefault(tuple(row[at : at + RUN]), []).append((t, at))
    lines = {
        (t, at + i)
        for found in places.values()
        if len(found) > 1
        for t, at in found
        for i in range(RUN)
    }
    return len(lines)


def parts(
    before: Sequence[FileMeasure],
    after: Sequence[FileMeasure],
    *,
    added_lines: int,
    new_duplicates: int | None = None,
) -> dict[str, float]:
    """What quality is made of, measured parts only; none when no measurable file is left after
    the patch. Raises `ValueError` for a negative number of lines."""
    if added_lines < 0:
        raise ValueError(f"added_lines must not be negative: {added_lines}")
    if not after:
        return {}
    lines = max(added_lines, MIN_LINES)
    found = {
        what: 1 / (1 + 10 * count / lines)
        for what in ("lint", "security", "types")
        if (count := new(what, before, after)) is not None
    }
    if (excess := excess_complexity(before, after)) is not None:
        found["complexity"] = 1 / (1 + excess / 10)
    if new_duplicates is not None:
        found["duplication"] = max(0.0, 1 - max(0, new_duplicates) / lines)
    found["size"] = 1 / (1 + added_lines / MANY_LINES)
    return {name: found[name] for name in WEIGHTS if name in found}


def quality(measured: Mapping[str, float]) -> float | None:
    """0..1, higher is better: the weighted mean of `parts`; None where there is nothing but how
    long the patch is, which alone says nothing."""
    if not measured.keys() - {"size"}:
        return None
    total = math.fsum(WEIGHTS[name] for name in measured)
    return min(1.0, math.fsum(WEIGHTS[name] * share for name, share in measured.items()) / total)
