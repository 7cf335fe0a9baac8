"""Decides how many more attempts of a round to start: few at first, more while it is open.

A round of 15 is not started at once: 3 may be enough. The next wave starts as soon as those that
passed and those still at work cannot decide the round together, so that nobody waits for a
straggler; it is not started when the choice is already as sure as wanted.
"""

from dataclasses import dataclass

#: The roadmap's consensus is one of three; so few can decide a round.
FIRST = 3
#: Seven in all are where an easy feature has been decided and a hard one shows itself.
SECOND = 4
#: Confidence at which another wave is not worth its price (benchmarks/RESULTS.md has the curve).
WANTED = 0.8


@dataclass(frozen=True, slots=True)
class Standing:
    """A round so far: of at most `most` attempts, `started` began, `running` have not ended and
    `passed` passed everything; `quorum` passes decide it, None where only confidence does.
    `confidence` is the probability that the best so far is right, None while the attempts have
    not been compared, or when they could not be: `compared` without one says that nothing which
    was executed tells them apart."""

    most: int
    quorum: int | None
    started: int = 0
    running: int = 0
    passed: int = 0
    confidence: float | None = None
    compared: bool = False


@dataclass(frozen=True, slots=True)
class Wave:
    """`size` attempts to start now, 0 for none, and why."""

    size: int
    why: str


def next_wave(round_: Standing, *, exactly: bool = False, wanted: float = WANTED) -> Wave:
    """What to start now. `exactly` starts everything at once."""
    left = round_.most - round_.started
    if left <= 0:
        return Wave(0, "all attempts of the round were started")
    if exactly:
        return Wave(left, "all at once, as asked")
    first = max(FIRST, round_.quorum or 0)
    if round_.started == 0:
        return Wave(min(left, first), "the first of the round")
    if why := _enough(round_, first, wanted):
        return Wave(0, why)
    size = SECOND if round_.started <= first else left
    passed = f"{round_.passed} of {round_.started} passed"
    working = f" with {round_.running} at work" if round_.running else ""
    why = f"{passed}{working}, which does not decide"
    return Wave(min(left, size), why)


def _enough(round_: Standing, first: int, wanted: float) -> str:
    """Why no more are started for now, though there are some left; empty when they are."""
    if round_.passed and round_.confidence is not None and round_.confidence >= wanted:
        return f"right with probability {round_.confidence:.2f}, {wanted:.2f} was wanted"
    blind = round_.compared and round_.confidence is None and round_.passed > 0
    if blind and round_.started > first:
        return "nothing that was executed tells them apart, nor would it tell more of them"
    if round_.quorum is not None and round_.passed + round_.running >= round_.quorum:
        return f"{round_.passed} passed with {round_.running} at work"
    return ""
