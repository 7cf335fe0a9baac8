"""What failures teach: patterns, which of them apply to a feature, and what an attempt is told.

A pattern is named by the signature of the failure it is about. Its text comes from test output,
models and people: it is data that is quoted to an agent, never an instruction of the harness.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

from orchestrator.learn.failure_kinds import named
from orchestrator.learn.lift import Status, Tally, judge
from orchestrator.learn.masking import redact
from orchestrator.learn.signatures import Signature
from orchestrator.reporting.wording import one_line
from orchestrator.values import Feature

#: What one attempt is told at most. Context that is not needed lowers success and costs money.
MAX_PATTERNS = 5
MAX_TOKENS = 1_200
_CHARS_PER_TOKEN = 4  # of English text, about; a bound, not a measurement

TITLE_CHARS = 120
TEXT_CHARS = 300
PLACE_CHARS = 200  # of a category, a feature's id, a file's path
MAX_SEEN = 3  # quotations of one pattern
MAX_PLACES = 12  # of each sort; what occurs everywhere needs no list of places

#: Runs whose tallies a pattern keeps apart; older ones are added up.
MAX_RUNS = 50
EARLIER = "earlier"

Author = Literal["rules", "model", "import", "person"]
Why = Literal["same failure", "same scope", "similar words"]
_NO_RUNS: Mapping[str, Tally] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Pattern:
    """One thing learned. `scope`: the categories, features and files where it was seen.

    `runs` has what each run saw of it, counted from that run's events, so that counting again
    after a crash changes nothing. Times are ISO 8601.
    """

    id: str
    signature: Signature
    title: str
    what: str
    why: str
    fix: str
    by: Author = "rules"
    learned: str = ""
    last_useful: str = ""
    status: Status = "trial"
    status_why: str = ""
    categories: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    runs: Mapping[str, Tally] = field(default_factory=lambda: _NO_RUNS)

    @property
    def total(self) -> Tally:
        return sum(self.runs.values(), Tally())

    @property
    def usable(self) -> bool:
        return self.status in {"trial", "kept", "asked"}


@dataclass(frozen=True, slots=True)
class Recalled:
    """A pattern that applies to a round. `met`: the earlier attempts at this very feature that
    failed in its way; what their verification said is quoted in `text`."""

    id: str
    title: str
    status: Status
    text: str
    why: Why
    met: tuple[str, ...] = ()


def by_rules(signature: Signature) -> Pattern:
    """The pattern that needs no model: what happened, and what the table of kinds advises."""
    kind = named(signature.kind, signature.error, signature.message)
    where = signature.where or signature.test
    place = f" in {where}" if where else ""
    said = ": ".join(part for part in (signature.error, signature.message) if part)
    return Pattern(
        id=signature.key,
        signature=signature,
        title=clean(f"{kind.title}{place}", TITLE_CHARS),
        what=clean(said or kind.title, TEXT_CHARS),
        why="",
        fix=clean(kind.fix, TEXT_CHARS),
    )


def clean(text: str, limit: int) -> str:
    """One line of untrusted text, bounded, without secrets, control characters or our marks."""
    return one_line(redact(one_line(text, 4 * limit)), limit).replace("<", "&lt;")


# ----------------------------------------------------------------------------------- relevance

_WORD = re.compile(r"[A-Za-z][a-z]{2,}|[A-Z]{3,}|[a-z]{3,}")
#: Words that say nothing about a failure; those of a programming test's everyday.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "the and for with that this from have has was are not but all any can may must should when "
        "where which who will its into than then them they each one two test tests testing assert "
        "error errors file files line lines value values return returns function module create "
        "python pytest exit code make run read write use uses used what why how more before after "
        "true false none name names given gives other another there here only own",
    )
)


def words(text: str) -> tuple[str, ...]:
    """The distinct telling words of a text, lower case, in order; `testNames_with` has `names`."""
    found = (match.group().lower() for match in _WORD.finditer(text))
    return tuple(dict.fromkeys(w for w in found if w not in _COMMON))


def description(pattern: Pattern) -> str:
    """The text that a pattern is found by."""
    signature = pattern.signature
    parts = (pattern.title, pattern.what, pattern.fix, signature.where, signature.test)
    return " ".join((*parts, *pattern.files, *pattern.categories))


def in_scope(files: Iterable[str], globs: Sequence[str]) -> bool:
    """Whether one of a pattern's files is among those that a feature is expected to change."""
    return any(fnmatchcase(path, glob) for path in files for glob in globs)


#: Fewer shared words than this is an accident.
MIN_SHARED_WORDS = 3


def applies(feature: Feature, pattern: Pattern, known: frozenset[str], shared: int) -> Why | None:
    """Why a pattern applies to a feature that failed with the signatures `known` so far and has
    `shared` telling words in common with it; None when it does not."""
    if not pattern.usable:
        return None
    if pattern.id in known:
        return "same failure"
    if in_scope(pattern.files, feature.scope) or feature.id in pattern.features:
        return "same scope"
    return "similar words" if shared >= MIN_SHARED_WORDS else None


_ORDER: Mapping[str, int] = {"same failure": 0, "same scope": 1, "similar words": 2}


def _rank(found: tuple[Pattern, Why]) -> tuple[bool, int, int, int, str]:
    """What happened once in the same files must not crowd out what is known to help, or what
    happens again and again."""
    pattern, why = found
    near, hits = _ORDER[why], pattern.total.hits
    proven = 0 if pattern.status in {"kept", "asked"} else 1 if hits > 1 else 2
    return near > 0, proven, -hits, near, pattern.id


def choose(
    found: Sequence[tuple[Pattern, Why]], seen: Mapping[str, Mapping[str, str]]
) -> list[Recalled]:
    """The few patterns of a round: why this feature failed before, then those that proved
    themselves, then what came back, the most seen first; within the bounds on number
    and tokens. `seen`: signature -> attempt -> problem.
    """
    ranked = sorted(found, key=_rank)
    chosen: list[Recalled] = []
    room = MAX_TOKENS * _CHARS_PER_TOKEN
    for pattern, why in ranked:
        if len(chosen) == MAX_PATTERNS:
            break
        met = seen.get(pattern.id, {})
        text = told(pattern, quotes(met))
        if len(text) <= room:
            room -= len(text)
            chosen.append(
                Recalled(pattern.id, pattern.title, pattern.status, text, why, tuple(met))
            )
    return chosen


def quotes(met: Mapping[str, str]) -> list[str]:
    """Each distinct problem once, with the attempts that had it."""
    by_text: dict[str, list[str]] = {}
    for attempt, text in met.items():
        by_text.setdefault(text, []).append(attempt)
    return [f"{', '.join(who[:3])}: {text}" for text, who in list(by_text.items())[:MAX_SEEN]]


def told(pattern: Pattern, seen: Sequence[str]) -> str:
    """What an agent reads of one pattern: plain lines, every one of them quoted."""
    lines = [f"{pattern.title}", f"what happened: {pattern.what}"]
    lines += [f"why: {pattern.why}"] if pattern.why else []
    lines += [f"what to do instead: {pattern.fix}"] if pattern.fix else []
    lines += [f"seen: {text}" for text in seen]
    return "\n".join(f"> {clean(line, TEXT_CHARS + 40)}" for line in lines)


def tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARS_PER_TOKEN)


# -------------------------------------------------------------------------------------- counts


def counted(pattern: Pattern, run: str, tally: Tally, now: str) -> Pattern:
    """The pattern with what `run` saw of it so far, and the status that follows from all."""
    if tally == Tally() or pattern.runs.get(run) == tally:
        return pattern
    useful = tally.shown.tries > tally.shown.repeated
    changed = replace(
        pattern,
        runs=MappingProxyType(_compacted({**pattern.runs, run: tally})),
        last_useful=now if useful else pattern.last_useful,
    )
    verdict = judge(changed.status, changed.total)
    if verdict is None:
        return changed
    return replace(changed, status=verdict.status, status_why=verdict.why)


def _compacted(runs: Mapping[str, Tally]) -> dict[str, Tally]:
    """The newest runs apart (their ids begin with their time), the others added up."""
    names = sorted(name for name in runs if name != EARLIER)
    old, kept = names[:-MAX_RUNS], names[-MAX_RUNS:]
    earlier = sum((runs[name] for name in old), runs.get(EARLIER, Tally()))
    head = {EARLIER: earlier} if earlier != Tally() else {}
    return {**head, **{name: runs[name] for name in kept}}


def merged(ours: Pattern, theirs: Pattern) -> Pattern:
    """One pattern that two processes know: `theirs` is on file and may have been edited by a
    person, so that its words and its status stand; places and counts are joined."""
    runs = {**ours.runs, **theirs.runs}
    return replace(
        theirs,
        categories=_joined(theirs.categories, ours.categories),
        features=_joined(theirs.features, ours.features),
        files=_joined(theirs.files, ours.files),
        runs=MappingProxyType(runs),
    )


def _joined(one: Sequence[str], two: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *two)))[:MAX_PLACES]
