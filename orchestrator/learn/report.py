"""What a run's report says about patterns: which it met, and what telling attempts of them did."""

from dataclasses import dataclass

from orchestrator.learn.lift import Arm, Tally, tallies
from orchestrator.reporting.wording import counted, markdown
from orchestrator.runs.state import RunState


@dataclass(frozen=True, slots=True)
class PatternReport:
    """What this run saw of a pattern. `learned`: this run was the first to meet it; `hits` are
    attempts that failed in its way, `shown` and `withheld` the two sides of the comparison."""

    id: str
    title: str
    learned: bool
    hits: int
    shown: Arm
    withheld: Arm


def build(run: RunState) -> tuple[PatternReport, ...]:
    """Those that were compared first, then those that were met most."""
    counts = tallies(run)
    found = []
    for id_, title in run.patterns.items():
        tally = counts.get(id_, Tally())
        learned = id_ in run.learned
        found.append(PatternReport(id_, title, learned, tally.hits, tally.shown, tally.withheld))
    return tuple(sorted(found, key=lambda p: (-p.shown.tries - p.withheld.tries, -p.hits, p.id)))


def lines(patterns: tuple[PatternReport, ...], judged: tuple[str, ...]) -> list[str]:
    """A section of Markdown; nothing when no pattern was met."""
    if not patterns:
        return []
    told = [f"- {markdown(pattern.title)}: {worth(pattern)}" for pattern in patterns]
    return ["", f"## Learned ({len(patterns)})", "", *told, *(f"- {markdown(t)}" for t in judged)]


def worth(pattern: PatternReport) -> str:
    """`kept failing here: 9 of 14 without, 2 of 13 with`, or how often it was met."""
    told, kept_back = pattern.shown, pattern.withheld
    if told.tries or kept_back.tries:
        return (
            f"kept failing here: {kept_back.repeated} of {kept_back.tries} without, "
            f"{told.repeated} of {told.tries} with"
        )
    return f"{'new, ' if pattern.learned else ''}{counted(pattern.hits, 'attempt')} failed so"
