"""Tells what a finished run decided, and in what a later look at the same attempts differs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator import events as e
from orchestrator.runs.state import RunState
from orchestrator.values import Verification

#: Coverage and quality are shares; what is finer than this is rounding.
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class PlayedRound:
    """One round that came to a choice. `commit`: where its attempts began; `among`: the names
    that could be chosen; `winner` None: nobody."""

    feature: str
    number: int
    commit: str
    among: tuple[str, ...]
    winner: str | None
    needs_review: bool


def played_rounds(happened: Iterable[e.Event]) -> tuple[PlayedRound, ...]:
    """The rounds of a run in the order of their choices. Runs of older versions did not say
    among whom a choice was: those that had been verified by then."""
    commits: dict[tuple[str, int], str] = {}
    verified: dict[str, list[str]] = {}
    found = []
    for event in happened:
        feature, attempt = event.feature or "", event.attempt or ""
        if isinstance(event, e.RoundStarted):
            commits[feature, event.round] = event.commit
            verified[feature] = []
        elif isinstance(event, e.VerificationFinished):
            verified.setdefault(feature, []).append(attempt)
        elif isinstance(event, e.AttemptSelected):
            found.append(
                PlayedRound(
                    feature=feature,
                    number=event.round,
                    commit=commits[feature, event.round],
                    among=event.among or tuple(sorted(verified[feature])),
                    winner=event.attempt,
                    needs_review=event.needs_review,
                )
            )
    return tuple(found)


def verdicts_apart(name: str, before: Verification, now: Verification) -> tuple[str, ...]:
    """A line for each verdict on which two verifications of the attempt `name` differ. How long
    they took is not compared, and neither are the words for what they found."""
    found = []
    broken, was_broken = {*now.regressions}, {*before.regressions}
    if before.usable != now.usable:
        found.append(f"usable {_word(before.usable)} before, {_word(now.usable)} now")
    then = {check.name: check.passed for check in before.acceptance}
    for check in now.acceptance:
        if check.name in then and then[check.name] != check.passed:
            how = "failed before, passes now" if check.passed else "passed before, fails now"
            found.append(f"`{check.name}` {how}")
    if {c.name for c in now.acceptance} != then.keys():
        found.append(f"{len(then)} checks were run before, {len(now.acceptance)} now")
    found += [f"{test} was broken before" for test in before.regressions if test not in broken]
    found += [f"{test} is broken now" for test in now.regressions if test not in was_broken]
    why = f" ({now.problems[0]})" if now.problems and not now.passed else ""
    return tuple(f"{name}: {line}{why}" for line in found)


def measures_apart(name: str, before: Verification, now: Verification) -> tuple[str, ...]:
    """A line for each figure that differs: threads and clocks in a project's tests make coverage
    come out a little otherwise each time, which matters only where a choice or a verdict does."""
    pairs = [
        (what, _share(getattr(before, what)), _share(getattr(now, what)))
        for what in ("coverage", "quality")
    ]
    return tuple(f"{name}: {w} {old} before, {new} now" for w, old, new in pairs if old != new)


def choices_apart(
    before: PlayedRound, winner: str | None, *, needs_review: bool
) -> tuple[str, ...]:
    """A line for each thing in which a choice made again differs."""
    where, found = f"{before.feature}, round {before.number}", []
    if winner != before.winner:
        found.append(f"{where}: {before.winner or 'nobody'} won before, {winner or 'nobody'} now")
    elif needs_review != before.needs_review:
        who = "a person decides now" if needs_review else "a person had to decide before"
        found.append(f"{where}: {who}")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Replayed:
    """`differences`: features that ended otherwise. `notes`: those that ended alike by another
    attempt, which a tie that time decides may do."""

    differences: tuple[str, ...]
    notes: tuple[str, ...]


def ends_apart(before: RunState, now: RunState, played: Iterable[str]) -> Replayed:
    """In what two runs over the features `played` ended differently."""
    differences, notes = [], []
    for id_ in played:
        one, other = before.features.get(id_), now.features.get(id_)
        ended = (one.state if one else "absent", other.state if other else "absent")
        if ended[0] != ended[1]:
            differences.append(f"{id_}: {ended[0]} before, {ended[1]} now")
        elif one and other and one.winner != other.winner:
            notes.append(f"{id_}: {ended[0]} by {other.winner} now, by {one.winner} before")
    return Replayed(tuple(differences), tuple(notes))


def begun(happened: Iterable[e.Event]) -> Mapping[str, None]:
    """The ids of the features that a run worked on, in their order."""
    return dict.fromkeys(
        event.feature for event in happened if isinstance(event, e.RoundStarted) and event.feature
    )


def _word(value: bool) -> str:
    return "yes" if value else "no"


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
