"""What came of an attempt's agent: its result on file, and the event of it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from harness.agents.transcript import NAME as TRANSCRIPT
from harness.agents.transcript import Transcript
from harness.record import files
from orchestrator import events
from orchestrator.values import AttemptKey, AttemptResult, Usage

#: The names of the result and of the patch in the attempt's folder.
RESULT = "attempt.json"
PATCH = "patch.diff"


def store(folder: Path, result: AttemptResult) -> None:
    files.replace_json(folder / RESULT, asdict(result), sync=False)


def load(folder: Path) -> AttemptResult | None:
    """The result of an attempt whose agent is through, None when it is not, or when a power
    cut spoilt the file: the transcript and the patch then say it again."""
    try:
        data = json.loads((folder / RESULT).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    data["key"] = AttemptKey(**data["key"])
    data["usage"] = Usage(**data["usage"])
    return AttemptResult(**data)


def through(key: AttemptKey, folder: Path) -> AttemptResult | None:
    """The result of an agent that was through when a crash kept `attempt.json` from being
    written: its patch is on file, and its sandbox may be gone, which could show it again."""
    if not (folder / PATCH).exists():
        return None
    result = Transcript(folder / TRANSCRIPT).result(key)
    if result is None:
        return None
    done = replace(result, patch=PATCH)
    store(folder, done)  # the choice among the attempts reads it from there
    return done


def spoilt(key: AttemptKey, folder: Path, reason: str) -> AttemptResult:
    """An attempt that ended from outside of the agent, with what it had spent by then."""
    so_far = Transcript(folder / TRANSCRIPT)
    return AttemptResult(
        key,
        "error",
        reason,
        turns=so_far.turns,
        usage=so_far.usage,
        cost_usd=so_far.cost_usd,
        seconds=so_far.elapsed,
    )


def finished(result: AttemptResult) -> events.AttemptFinished:
    """The event that says how the agent's part ended."""
    return events.AttemptFinished(
        feature=result.key.feature,
        attempt=result.key.name,
        ending=result.ending,
        reason=result.reason,
        turns=result.turns,
        seconds=result.seconds,
        cost_usd=result.cost_usd,
        patch=result.patch is not None,
    )
