"""`claude_progress.md`: what became of each feature, for people and for later attempts to read."""

import re
from collections.abc import Callable
from pathlib import Path

from harness.record.files import replace
from orchestrator.events import Event, FeatureFailed, FeatureMerged, ReviewRequested
from orchestrator.report import rejection
from orchestrator.state import FeatureState, RunState
from orchestrator.wording import counted, duration, markdown, money

PREAMBLE = """\
# Progress

What became of each feature, newest last. FibreFlow appends to this file after each feature
and shows its end to later attempts.
"""

#: The file keeps about this much; the oldest entries go first. It is read in one piece.
KEPT_CHARS = 200_000

#: How many losing attempts an entry tells about: the first few reasons repeat themselves.
LOSERS = 3

_ENTRY = re.compile(r"^(?=## )", re.MULTILINE)


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
            append(self._path, entry(feature, run.run, event.time))


def entry(feature: FeatureState, run: str, time: str) -> str:
    """One feature's entry: a heading and a few lines of Markdown."""
    day = f"{time[:10]} {time[11:16]} UTC" if time else ""
    lines = [f"## {markdown(feature.id)}: {feature.state} ({markdown(run)}, {day})", ""]
    tries = f"{counted(len(feature.attempts), 'attempt')} in {counted(feature.round, 'round')}"
    cost = money(feature.cost_usd, feature.unknown_cost)
    lines.append(f"- {tries}, {duration(feature.seconds) or 'no time'}, {cost}")
    if feature.state == "merged" and feature.winner:
        lines.append(f"- merged {feature.winner} as {(feature.commit or '')[:12]}")
    lines += [f"- {markdown(reason)}" for reason in feature.reasons[:LOSERS]]
    lines += [f"- merge refused, {markdown(refusal)}" for refusal in feature.refusals[-LOSERS:]]
    lines += [f"- rejected: {why}" for why in _losers(feature)]
    return "\n".join(lines) + "\n"


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
    """The newest entries that fit whole into `limit_chars`, oldest first; empty when none do."""
    chosen: list[str] = []
    room = limit_chars
    for one in reversed(_split(_read(path))[1]):
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
