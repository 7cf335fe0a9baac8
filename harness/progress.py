"""`claude_progress.md`: what became of each feature, for people and for later attempts to read."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from harness.record.files import replace
from orchestrator.events import Event, FeatureFailed, FeatureMerged, ReviewRequested
from orchestrator.reporting.report import rejection
from orchestrator.reporting.wording import counted, duration, markdown, money
from orchestrator.runs.state import FeatureState, RunState

PREAMBLE = """\
# Progress

What became of each feature, newest last. FibreFlow appends to this file after each feature
and shows later attempts what was merged.
"""

#: The file keeps about this much; the oldest entries go first. It is read in one piece.
KEPT_CHARS = 200_000

_NO_PATTERNS: Mapping[str, str] = MappingProxyType({})

#: How many losing attempts an entry tells about: the first few reasons repeat themselves.
LOSERS = 3

_ENTRY = re.compile(r"^(?=## )", re.MULTILINE)
_MERGED = re.compile(r"## .*: merged\b")
_OF_FAILURES = re.compile(r"^- (?:attempts failed by:|merge refused,|rejected:).*\n", re.MULTILINE)


class Progress:
    """A journal listener that appends an entry for each feature that came to an end.

    `state` gives the run's state with the event already applied: register this listener after
    the one that folds. Raises `MachineError` when the file cannot be written.
    """

    def __init__(self, path: Path, state: Callable[[], RunState]) -> None:
        self._path = path
        self._state = state

    def __call__(self, event: Event) -> None:
        if not isinstance(event, FeatureMerged | FeatureFailed | ReviewRequested):
            return
        run = self._state()
        feature = run.features.get(event.feature or "")
        if feature is not None:
            append(self._path, entry(feature, run.run, event.time, run.patterns))


def entry(
    feature: FeatureState, run: str, time: str, patterns: Mapping[str, str] = _NO_PATTERNS
) -> str:
    """One feature's entry, a heading and a few lines; `patterns`: signature -> title."""
    day = f"{time[:10]} {time[11:16]} UTC" if time else ""
    lines = [f"## {markdown(feature.id)}: {feature.state} ({markdown(run)}, {day})", ""]
    tries = f"{counted(len(feature.attempts), 'attempt')} in {counted(feature.round, 'round')}"
    cost = money(feature.cost_usd, feature.unknown_cost)
    lines.append(f"- {tries}, {duration(feature.seconds) or 'no time'}, {cost}")
    if feature.state == "merged" and feature.winner:
        lines.append(f"- merged {feature.winner} as {(feature.commit or '')[:12]}")
        lines += _handed_over(feature, patterns)
    lines += [f"- {markdown(reason)}" for reason in feature.reasons[:LOSERS]]
    lines += [f"- merge refused, {markdown(refusal)}" for refusal in feature.refusals[-LOSERS:]]
    lines += [f"- rejected: {why}" for why in _losers(feature)]
    return "\n".join(lines) + "\n"


def _handed_over(feature: FeatureState, patterns: Mapping[str, str]) -> list[str]:
    """What the next feature should know: what the winner said it did, in its own words, and the
    ways in which attempts had failed. Both are quoted, because strangers wrote them."""
    winner = feature.attempts.get(feature.winner or "")
    said = markdown(winner.reason) if winner is not None and winner.ending == "submitted" else ""
    met = dict.fromkeys(s for a in feature.attempts.values() for s in a.signatures)
    titles = [markdown(patterns[s]) for s in met if s in patterns]
    return [
        *([f'- its agent says: "{said}"'] if said else []),
        *(f'- attempts failed by: "{title}"' for title in titles[:LOSERS]),
    ]


def append(path: Path, text: str) -> None:
    """Add an entry; the file is replaced atomically and never holds an entry twice.

    What a person wrote above the first entry stays; `MachineError` as in `files.replace`.
    """
    preamble, entries = _split(_read(path))
    if text not in entries:
        entries.append(text)
    kept: list[str] = []
    size = 0
    for one in reversed(entries):
        size += len(one)
        if kept and size > KEPT_CHARS:
            break
        kept.append(one)
    replace(path, "\n".join([preamble, *reversed(kept)]))


def recent(path: Path, limit_chars: int = 4000) -> str:
    """What was merged: the newest entries that fit whole into `limit_chars`, oldest first; empty
    when none do.

    Failures are left out: an attempt hears of them by patterns, and one that a pattern is
    withheld from must not read here what it says.
    """
    merged = [one for one in _split(_read(path))[1] if _MERGED.match(one)]
    chosen: list[str] = []
    room = limit_chars
    for one in reversed([_OF_FAILURES.sub("", one) for one in merged]):
        room -= len(one) + 1
        if room < 0:
            break
        chosen.append(one)
    return "\n".join(reversed(chosen))


def _losers(feature: FeatureState) -> list[str]:
    """The different reasons why attempts were turned down, the first few."""
    found = dict.fromkeys(
        markdown(rejection(a.problems, a.checks_passed, a.checks))
        for a in feature.attempts.values()
        if a.state == "rejected"
    )
    return list(found)[:LOSERS]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _split(text: str) -> tuple[str, list[str]]:
    """What stands above the first entry, and the entries, each ending in one newline."""
    head, *entries = _ENTRY.split(text)
    preamble = head.rstrip("\n") + "\n" if head.strip() else PREAMBLE
    return preamble, [one.rstrip("\n") + "\n" for one in entries]
