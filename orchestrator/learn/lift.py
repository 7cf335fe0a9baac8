"""Whether a pattern helps: compares attempts that were shown it with those it was withheld from.

Which attempts it is withheld from follows from a hash, so that a decision made twice is the same;
within a round the share is held exactly, which tells more than independent draws. The comparison
is Bayesian: each rate has a Beta posterior under Jeffreys' prior, Beta(1/2, 1/2), and what is
asked is the probability that one rate lies below the other.
"""

import functools
import hashlib
import math
from dataclasses import dataclass
from typing import Literal

from orchestrator.runs.course import RunState
from orchestrator.values import AttemptKey

#: "asked": a person's own words, which are told always and compared with nothing.
Status = Literal["trial", "kept", "asked", "retired", "quarantined"]

#: Share of attempts that a pattern is withheld from. One that has proved itself is still
#: watched, because a project changes, but less is paid for that.
SHARES = {"trial": 0.2, "kept": 0.1}

#: A verdict needs this many attempts on each side; below, a prior decides, not the evidence.
MIN_TRIES = 8
#: With this many on each side, a pattern that is likelier to do nothing than to help is retired.
ENOUGH_TRIES = 40
#: Sureness of each verdict. Patterns are looked at after every round, so that the usual 0.95
#: would be crossed by chance far more often than one time in twenty: see benchmarks/learning.py.
SURE = 0.99
#: What is given up on for want of use is called harmful when it is this likely that it was.
SUSPECT = 0.9
#: A difference that is worth the words it costs, and the chance of it below which it is no longer
#: waited for: most useless patterns are about failures that do not come back.
WORTH = 0.05
HOPELESS = 0.1
_GRID = 400  # points of a posterior; the error of a probability is then below 0.002


@dataclass(frozen=True, slots=True)
class Arm:
    """Attempts on one side. `repeated` failed in the pattern's own way, `passed` passed all."""

    tries: int = 0
    passed: int = 0
    repeated: int = 0

    def __add__(self, other: "Arm") -> "Arm":
        return Arm(
            self.tries + other.tries,
            self.passed + other.passed,
            self.repeated + other.repeated,
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """`hits`: attempts that failed in this way; `shown` and `withheld` as compared."""

    hits: int = 0
    shown: Arm = Arm()
    withheld: Arm = Arm()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.hits + other.hits, self.shown + other.shown, self.withheld + other.withheld
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    why: str


def judge(status: Status, tally: Tally) -> Verdict | None:
    """The status that the evidence asks for, None when it stays as it is.

    Harm comes first: a pattern that prevents its failure by causing others is harmful. What is
    retired or quarantined is shown to nobody, so that nothing new is learned about it: only a
    person brings it back.
    """
    if status in {"asked", "retired", "quarantined"}:
        return None
    shown, withheld = tally.shown, tally.withheld
    if min(shown.tries, withheld.tries) < MIN_TRIES:
        return None
    harm = chance_below(shown.passed, shown.tries, withheld.passed, withheld.tries, WORTH)
    harmful = Verdict("quarantined", f"passed {_of(shown.passed, withheld.passed, tally)}")
    if harm >= SURE:
        return harmful
    told = f"failed in this way {_of(shown.repeated, withheld.repeated, tally)}"
    help_ = chance_below(shown.repeated, shown.tries, withheld.repeated, withheld.tries)
    if help_ >= SURE:
        return Verdict("kept", told) if status != "kept" else None
    worth = chance_below(shown.repeated, shown.tries, withheld.repeated, withheld.tries, WORTH)
    enough = min(shown.tries, withheld.tries) >= ENOUGH_TRIES
    if worth <= HOPELESS or (enough and help_ < 0.5):
        return harmful if harm >= SUSPECT else Verdict("retired", told)
    return None


def _of(shown: int, withheld: int, tally: Tally) -> str:
    return f"{shown} of {tally.shown.tries} with, {withheld} of {tally.withheld.tries} without"


def chance_below(
    hits: int, tries: int, others: int, other_tries: int, margin: float = 0.0
) -> float:
    """P(rate + margin < other rate), 0..1, for `hits` of `tries` against `others` of
    `other_tries`: the product of two Beta posteriors, summed over a grid."""
    one, two = _posterior(hits, tries), _posterior(others, other_tries)
    shift = round(margin * _GRID)
    below, total = 0.0, 0.0
    for i, weight in enumerate(two):
        j = i - shift
        if j >= 0:
            total += weight * (below + one[j] / 2)
            below += one[j]
    return min(1.0, max(0.0, total))


@functools.lru_cache(maxsize=4096)
def _posterior(hits: int, tries: int) -> list[float]:
    logs = []
    for i in range(_GRID):
        x = (i + 0.5) / _GRID
        logs.append((hits - 0.5) * math.log(x) + (tries - hits - 0.5) * math.log1p(-x))
    most = max(logs)
    weights = [math.exp(value - most) for value in logs]
    total = sum(weights)
    return [weight / total for weight in weights]


def tallies(run: RunState) -> dict[str, Tally]:
    """What a run saw of each pattern: failures signed with it, and its two arms.

    An attempt counts when it passed or failed in a way that has a name; what was cancelled,
    could not be judged, or failed by our own fault, says nothing.
    """
    found: dict[str, Tally] = {}
    for feature in run.features.values():
        for attempt in feature.attempts.values():
            # What a person merged was right, though no trusted check could say so.
            taken = bool(feature.accepted_by) and feature.state == "merged"
            passed = attempt.state == "passed" or (taken and feature.winner == attempt.name)
            for key in attempt.signatures:
                found[key] = found.get(key, Tally()) + Tally(hits=1)
            if not passed and not attempt.signatures:
                continue
            for key, shown in attempt.patterns.items():
                arm = Arm(1, int(passed), int(key in attempt.signatures))
                one = Tally(0, arm, Arm()) if shown else Tally(0, Arm(), arm)
                found[key] = found.get(key, Tally()) + one
    return found


def quota(status: Status, why: str, attempts: int) -> float:
    """How many of a round's attempts are not shown a pattern, on average.

    Why the round before failed is withheld from whole shares only: a round of one or two attempts
    that did not know it would be money spent on the same mistake. Where this is zero nothing is
    compared, for such rounds come after the hardest failures and have no other side.
    """
    share = SHARES.get(status, 0.0) * attempts
    return math.floor(share + 1e-9) if why == "same failure" else share


def is_withheld(key: AttemptKey, run: str, attempts: int, pattern: str, quota: float) -> bool:
    """Whether attempt `key`, one of `attempts` of its round, is not shown `pattern`.

    The same share of every round is withheld, its fraction by another hash: of 5 attempts and a
    quota of 1, exactly one; of a quota of 0.2, one in every fifth round.
    """
    place = f"{run}/{key.feature}/{key.round}"
    whole = int(quota)
    drawn = _fraction(f"{place}/{pattern}") < quota - whole
    order = sorted(range(1, attempts + 1), key=lambda n: _fraction(f"{place}/{n}/{pattern}"))
    return key.number in order[: whole + drawn]


def _fraction(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
