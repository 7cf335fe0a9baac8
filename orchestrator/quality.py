"""Turns what a linter saw before and after a patch into a quality of 0..1.

    lint       = 1 / (1 + 10 x new findings / added lines)   one per ten added lines is 0.5
    complexity = 1 / (1 + excess / 10)                       excess over 10, or over before
    quality    = 0.6 x lint + 0.4 x complexity

Only what the patch made worse counts, so an old and ugly file does not punish its mender. Lint
weighs more because complexity alone predicts correctness slightly worse than chance: code that
is incomplete is also short. Ten is the usual ceiling of McCabe complexity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LINT_SHARE = 0.6
CEILING = 10
#: Findings are counted against at least this many lines: one flaw in a two-line fix is no ruin.
MIN_LINES = 10


@dataclass(frozen=True)
class FileMeasure:
    """One file: `findings` counts linter findings, `complexity` is by function name."""

    path: str
    findings: int = 0
    complexity: Mapping[str, int] = field(default_factory=dict)


def new_findings(before: Sequence[FileMeasure], after: Sequence[FileMeasure]) -> int:
    """Findings that the patch added, file by file; mending one file buys no flaw in another."""
    old = {m.path: m.findings for m in before}
    return sum(max(0, m.findings - old.get(m.path, 0)) for m in after)


def excess_complexity(before: Sequence[FileMeasure], after: Sequence[FileMeasure]) -> int:
    """Sum over functions of what exceeds the ceiling and what the function had before."""
    old = {m.path: m.complexity for m in before}
    return sum(
        max(0, value - max(CEILING, old.get(m.path, {}).get(name, 0)))
        for m in after
        for name, value in m.complexity.items()
    )


def quality(
    before: Sequence[FileMeasure], after: Sequence[FileMeasure], *, added_lines: int
) -> float | None:
    """0..1, higher is better; None when no measurable file is left after the patch.

    Raises `ValueError` for a negative number of lines.
    """
    if added_lines < 0:
        raise ValueError(f"added_lines must not be negative: {added_lines}")
    if not after:
        return None
    lint = 1 / (1 + 10 * new_findings(before, after) / max(added_lines, MIN_LINES))
    complexity = 1 / (1 + excess_complexity(before, after) / 10)
    return LINT_SHARE * lint + (1 - LINT_SHARE) * complexity
