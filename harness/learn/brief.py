"""What the attempts of a round are told: written once per round, shared out by a hash."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.record import files
from orchestrator import events
from orchestrator.learn import lift
from orchestrator.learning import Recalled
from orchestrator.values import AttemptKey


@dataclass(frozen=True, slots=True)
class Brief:
    """Of one round. `context` describes the repository; `lessons` are what no pattern stands for;
    `attempts` is how many share the patterns, `repairs` how many each of them may make."""

    context: str
    lessons: tuple[str, ...] = ()
    patterns: tuple[Recalled, ...] = ()
    attempts: int = 1
    repairs: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What one attempt gets of its round's patterns. `compared`: ids of those that some attempts
    of such a round are not told."""

    shown: tuple[Recalled, ...] = ()
    withheld: tuple[Recalled, ...] = ()
    compared: frozenset[str] = frozenset()


def without_the_covered(lessons: Sequence[str], patterns: Sequence[Recalled]) -> tuple[str, ...]:
    """Lessons that name no attempt which a pattern stands for. The others are left to their
    pattern, so that withholding it withholds what it knows."""
    met = {name for pattern in patterns for name in pattern.met}
    return tuple(lesson for lesson in lessons if not any(name in lesson for name in met))


def store(run_folder: Path, key: AttemptKey, brief: Brief) -> None:
    """Written before the round's first attempt, so that all are told the same."""
    files.replace_json(_file(run_folder, key), asdict(brief))


def load(run_folder: Path, key: AttemptKey) -> Brief:
    """The brief of the attempt's round; one that an older version wrote has no patterns."""
    data: dict[str, Any] = json.loads(_file(run_folder, key).read_bytes())
    return Brief(
        context=str(data["context"]),
        lessons=tuple(data["lessons"]),
        patterns=tuple(_recalled(entry) for entry in data.get("patterns", ())),
        attempts=int(data.get("attempts", 1)),
        repairs=int(data.get("repairs", 0)),
    )


def _recalled(entry: Mapping[str, Any]) -> Recalled:
    return Recalled(**{**entry, "met": tuple(entry["met"])})


def _file(run_folder: Path, key: AttemptKey) -> Path:
    return run_folder / key.feature / f"round-{key.round}.json"


def share(run: str, key: AttemptKey, brief: Brief) -> Share:
    """The same whenever it is asked: a hash decides, so that an attempt that goes on after a
    crash is told what it was told."""
    quotas = {p.id: lift.quota(p.status, p.why, brief.attempts) for p in brief.patterns}
    kept_back = {
        id_
        for id_, quota in quotas.items()
        if lift.is_withheld(key, run, brief.attempts, id_, quota)
    }
    return Share(
        shown=tuple(p for p in brief.patterns if p.id not in kept_back),
        withheld=tuple(p for p in brief.patterns if p.id in kept_back),
        compared=frozenset(id_ for id_, quota in quotas.items() if quota > 0),
    )


def used(key: AttemptKey, given: Share) -> list[events.Event]:
    """One event for each pattern that applies, shown or withheld."""
    return [
        events.PatternUsed(
            feature=key.feature,
            attempt=key.name,
            pattern=pattern.id,
            title=pattern.title,
            shown=pattern in given.shown,
            compared=pattern.id in given.compared,
            why=pattern.why,
        )
        for pattern in (*given.shown, *given.withheld)
    ]
