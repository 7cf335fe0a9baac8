"""Tells an attempt that goes round in circles from one that works, by what it did and what came."""

from collections.abc import Sequence
from dataclasses import dataclass

#: The same calls with the same results so often in a row: the model will not notice by itself.
REPEATS = 4
#: Two turns that take turns, so many times over.
ALTERNATIONS = 4
#: So many turns in which nothing was done or seen that had not been before. Reading a file again
#: is no sign by itself, so this is generous.
STALE = 12


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: its tool calls as text, in order, and what came of each. A call that changes a
    file is a new one each time that it changes it otherwise."""

    calls: tuple[str, ...]
    results: tuple[str, ...]


def reason(turns: Sequence[Turn]) -> str | None:
    """Why the attempt is stuck, in words; None when it is not, as far as can be told."""
    if len(turns) >= REPEATS and turns[-1].calls and len(set(turns[-REPEATS:])) == 1:
        return f"stuck: the same calls with the same results {REPEATS} times in a row"
    last = turns[-2 * ALTERNATIONS :]
    if len(last) == 2 * ALTERNATIONS and len(set(last[::2])) == len(set(last[1::2])) == 1:
        return f"stuck: the same two turns {ALTERNATIONS} times over"
    known = {pair for turn in turns[:-STALE] for pair in _pairs(turn)}
    recent = [pair for turn in turns[-STALE:] for pair in _pairs(turn)]
    if known and recent and known.issuperset(recent):
        return f"stuck: nothing new done or seen in {STALE} turns"
    return None


def _pairs(turn: Turn) -> list[tuple[str, str]]:
    return list(zip(turn.calls, turn.results, strict=False))
