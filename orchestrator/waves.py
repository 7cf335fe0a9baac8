"""Decides how a round goes on: how many attempts begin now, whether to compare, when it is over.

A round of 15 is not started at once: 3 may be enough. The next wave starts as soon as those that
passed and those still at work cannot decide the round together, so that nobody waits for a
straggler. Before it does, those that passed are compared: it is not started when the choice is
already as sure as wanted. And a quorum that was not asked for decides only when it agrees: where
a person would have to be asked, twice as many passes are needed first.
"""

from dataclasses import dataclass, replace

from orchestrator.selection import Policy, Selection

#: The roadmap's consensus is one of three; so few can decide a round.
FIRST = 3
#: Seven in all are where an easy feature has been decided and a hard one shows itself.
SECOND = 4
#: Confidence at which another wave is not worth its price (benchmarks/RESULTS.md has the curve).
WANTED = 0.8
#: There is no choice among fewer.
_CHOICE = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """A round so far: of at most `most` attempts, `started` began, `running` have not ended and
    `passed` passed everything; `quorum` passes decide it, None where only confidence does.
    `firm`: the quorum was asked for, and no comparison decides before or after it.

    `confidence` is the probability that the best so far is right, None while the attempts have
    not been compared, or when it cannot be told; `blind`: they were, and nothing that was
    executed tells them apart. `seen`: how many had passed at the last comparison; `contested`:
    how many had passed when one found them to disagree.
    """

    most: int
    quorum: int | None
    started: int = 0
    running: int = 0
    passed: int = 0
    confidence: float | None = None
    blind: bool = False
    seen: int = 0
    contested: int = 0
    firm: bool = False

    @property
    def needed(self) -> int | None:
        """Passes that decide the round."""
        if self.quorum is None:
            return None
        return min(self.most, max(self.quorum, 2 * self.contested))

    def begun(self, more: int) -> "Standing":
        """Of what was compared before, nothing is said any more."""
        now = replace(self, started=self.started + more, running=self.running + more)
        return replace(now, blind=False, confidence=None)

    def ended(self, many: int, passed: int) -> "Standing":
        """`many` came to their end, of which `passed` passed everything."""
        now = replace(self, running=self.running - many, passed=self.passed + passed)
        return replace(now, blind=False, confidence=None)

    def told(
        self, confidence: float | None, *, blind: bool = False, contested: bool = False
    ) -> "Standing":
        """A comparison of all that ended has said so."""
        now = replace(self, seen=self.passed, confidence=confidence, blind=blind)
        return replace(now, contested=self.passed) if contested else now


@dataclass(frozen=True, slots=True)
class Wave:
    """`size` attempts to start now, 0 for none, and why. `over`: no more is waited for either."""

    size: int
    why: str
    over: bool = False


def is_contested(selection: Selection, policy: Policy) -> bool:
    """Whether a person would be asked for what more attempts may settle."""
    consensus, sure = selection.consensus, selection.confidence
    apart = consensus is not None and consensus < policy.min_consensus
    unsure = sure is not None and sure < policy.min_confidence
    judged = any(r.checks for r in selection.ranking)
    return judged and ((apart and policy.on_no_consensus == "review") or unsure)


def is_to_compare(round_: Standing, *, exactly: bool = False) -> bool:
    """Whether what the attempts do may decide now: the quorum has passed, or another wave is
    due; and more have passed than when it was last asked."""
    needed = round_.needed
    if needed is None or round_.firm or (round_.quorum or 0) >= round_.most:
        return False
    if round_.passed < max(_CHOICE, round_.seen + 1):
        return False
    if round_.passed >= needed:
        return round_.started < round_.most or round_.running > 0
    due = round_.started < round_.most and round_.passed + round_.running < needed
    return due and not exactly


def next_wave(round_: Standing, *, exactly: bool = False, wanted: float = WANTED) -> Wave:
    """What to start now. `exactly` starts everything at once."""
    left = round_.most - round_.started
    first = max(FIRST, round_.quorum or 0)
    if why := _over(round_, first, wanted):
        return Wave(0, why, over=True)
    if exactly and left:
        return Wave(left, "all at once, as asked")
    if not round_.started:
        return Wave(min(left, first), "the first of the round")
    working = f" with {round_.running} at work" if round_.running else ""
    told = f"{round_.passed} of {round_.started} passed{working}"
    needed = round_.needed
    if not left or (needed is not None and round_.passed + round_.running >= needed):
        return Wave(0, told)
    size = SECOND if round_.started <= first else left
    apart = f"and {round_.contested} did not agree"
    doubt = apart if round_.contested else "which does not decide"
    return Wave(min(left, size), f"{told}, {doubt}")


def _over(round_: Standing, first: int, wanted: float) -> str:
    """Why nothing more is started or waited for; empty while something is."""
    if round_.started >= round_.most and not round_.running:
        return "all attempts of the round have ended"
    if round_.passed and round_.confidence is not None and round_.confidence >= wanted:
        return f"right with probability {round_.confidence:.2f}, {wanted:.2f} was wanted"
    if round_.blind and round_.passed and round_.started > first:
        return "nothing that was executed tells them apart, nor would it tell more of them"
    if round_.needed is not None and round_.passed >= round_.needed:
        return f"{round_.passed} passed"
    return ""
