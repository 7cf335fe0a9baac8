"""What to do next, from what is known: the rounds of a feature and the end of a run.

The same functions drive the real run and a simulated one; they look at values only.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.evidence import BY_EXIT
from orchestrator.selector import Evidence, Selection
from orchestrator.values import AttemptResult, Defaults, Feature, Verification

#: Where a feature can be when a run has come to its end.
FinalState = Literal["merged", "failed", "blocked", "review", "skipped"]

#: Passes that decide a round early, unless the list says so: enough to choose among.
QUORUM = 3
#: Lessons a further round is told: enough to see every way to fail, short enough to be read.
MAX_LESSONS = 12
MAX_LESSON_CHARS = 600


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round of a feature: how many attempts, and how many passes decide it early; `firm`
    when the list says how many, so that nothing else does."""

    number: int  # from 1
    attempts: int
    quorum: int
    lessons: tuple[str, ...] = ()
    left: int = 0  # tries of any sort that the feature has after this round's attempts
    repairs: int = 0  # the most that each attempt may make
    exactly: bool = False  # all at once, not in waves
    firm: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further round will be paid for."""

    reason: str


def first_round(feature: Feature, defaults: Defaults, before: int = 0) -> RoundPlan:
    """`before`: the rounds that it has had already, when it is worked on again."""
    attempts = feature.attempts or defaults.attempts
    more = defaults.rounds - 1
    return RoundPlan(
        before + 1,
        attempts,
        min(defaults.quorum or QUORUM, attempts),
        left=attempts * more,
        repairs=min(defaults.repairs, more),
        exactly=defaults.exactly,
        firm=defaults.quorum is not None,
    )


def next_round(
    last: RoundPlan, most: int, lessons: Sequence[str], why: str, repaired: int = 0
) -> RoundPlan | GiveUp:
    """The round after one in which nothing was merged, up to number `most`, and which made
    `repaired` repairs: rounds times attempts is a hard cap on attempts and repairs together."""
    left = last.left - repaired
    if last.number >= most or left <= 0:
        rounds = "round" if last.number == 1 else "rounds"
        return GiveUp(f"nothing to merge after {last.number} {rounds}; the last: {why}")
    attempts = min(last.attempts, left)
    left -= attempts
    return RoundPlan(
        last.number + 1,
        attempts,
        min(last.quorum, attempts),
        condense([*last.lessons, *lessons]),
        left=left,
        repairs=min(last.repairs, left // attempts),
        exactly=last.exactly,
        firm=last.firm,
    )


def condense(lessons: Sequence[str]) -> tuple[str, ...]:
    """Distinct lessons, each shortened, the newest kept when there are too many."""
    distinct = dict.fromkeys(lesson.strip()[:MAX_LESSON_CHARS] for lesson in lessons)
    return tuple(lesson for lesson in distinct if lesson)[-MAX_LESSONS:]


def for_a_person(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Evidence about a feature without acceptance commands, when only the project's own tests
    judged it. They decide when somebody turned them green; otherwise they may be red for other
    features' sake, so that their verdict is left out and a person decides."""
    if any(e.acceptance and e.passed_all for e in evidence):
        return list(evidence)
    return [replace(e, acceptance=()) for e in evidence]


def reviewed_setup(selection: Selection, manifests: Sequence[str]) -> Selection:
    """A winner that changes what the setup command reads goes to a person: setup runs with a
    network, and what it leaves behind is under every later verification."""
    if not manifests:
        return selection
    why = f"changes {', '.join(manifests[:4])}, which project.setup runs with a network"
    return replace(selection, needs_review=True, reasons=(*selection.reasons, why))


def in_its_words(
    selection: Selection, ends: Mapping[str, str], problems: Mapping[str, Sequence[str]]
) -> Selection:
    """A choice that came to nothing, with what happened: what the best attempt failed by, or how
    the attempts ended that left nothing to judge. Both by attempt. Of a winner: which checks only
    their exit status vouches for."""
    if selection.winner is not None:
        weak = tuple(p for p in problems.get(selection.winner, ()) if p.endswith(BY_EXIT))
        return replace(selection, reasons=(*selection.reasons, *weak[:3]))
    why, *rest = selection.reasons
    if selection.ranking:
        found = list(problems.get(selection.ranking[0].attempt, ()))[:1]
    else:
        why = "no attempt left anything to choose from"
        said: dict[str, str] = {}
        for name, end in ends.items():
            said.setdefault(end, f"{name}: {end}")
        found = list(said.values())[:3]
    if found:
        why = f"{why}: {'; '.join(found)}"
    return replace(selection, reasons=(why, *rest))


def exit_code(states: Collection[FinalState]) -> int:
    """0 all merged that were asked for, 1 some failed, 3 nothing failed but a person must
    decide."""
    if "failed" in states:
        return 1
    if "review" in states:
        return 3
    return 0 if all(s in {"merged", "skipped"} for s in states) else 1


def exit_code_since(code: int, states: Collection[FinalState]) -> int:
    """`exit_code` of a run that ended with `code`, after a person accepted an attempt. What was
    blocked by the review is for the next run, so that this one did not end better for it."""
    return code if "blocked" in states else exit_code(states)


def lessons_of(result: AttemptResult, verification: Verification | None) -> tuple[str, ...]:
    """What an attempt that did not pass teaches the next round, in the words of its verification.
    One that the harness or the provider broke, or could not verify, teaches nothing."""
    name = result.key.name
    if verification is not None:
        problems = () if verification.passed else verification.problems
        return tuple(f"{name}: {problem}" for problem in problems[:4])
    if result.ending == "error" or result.patch is not None:
        return ()
    return (f"{name}: {result.reason}",)
