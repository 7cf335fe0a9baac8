"""What is wrong with a text that a person wrote, as finished lines: where, what, and what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from orchestrator.features.rules import shown
from orchestrator.json_lines import Lines

#: Beyond this many lines nobody reads on; the last line then says how many were left out.
PROBLEM_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """`at` is an offset in the text; `where` names the entry and key; `what` ends in a remedy."""

    at: int
    where: str
    what: str


def told(problems: Iterable[Problem], numbers: Lines) -> tuple[str, ...]:
    """A line for each problem, once, in the order of the text: at most `PROBLEM_LIMIT`, and one
    that counts the rest."""
    found = sorted(dict.fromkeys(problems), key=lambda p: p.at)
    lines = [
        f"line {numbers.line(p.at)}" + (f", {p.where}" if p.where else "") + f": {p.what}"
        for p in found[:PROBLEM_LIMIT]
    ]
    if len(found) > PROBLEM_LIMIT:
        lines.append(f"and {len(found) - PROBLEM_LIMIT} more; mend these first")
    return tuple(lines)


def nearest(word: str, known: Sequence[str], otherwise: str) -> str:
    """`did you mean ...?`, or what to say when nothing is near."""
    folded = {k.lower(): k for k in known}
    near = get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean {shown(folded[near[0]])}?" if near else otherwise
