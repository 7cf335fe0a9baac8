"""Writes what real models said in an attempt's transcript as a recording that replays it."""

from pathlib import Path
from typing import Any

from harness.agents.prompts import find_section, section_digest
from harness.agents.transcript import NAME, Transcript
from orchestrator.errors import InputError


def write(run_folder: Path, target: Path) -> int:
    """Recordings of all attempts of a run below `target`, one file each; how many. Replies that a
    model gave live are `recorded`, with their usage and cost; others stay `scripted`.

    Raises `InputError` when the run has no transcript.
    """
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    written = 0
    for path in sorted(run_folder.glob(f"*/*/{NAME}")):
        found = recording(Transcript(path), run_folder.name)
        if found is None:
            continue
        attempt = path.parent
        file = target / attempt.parent.name / f"{attempt.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), "utf-8")
        written += 1
    if not written:
        raise InputError(f"{run_folder}: no attempt of this run has asked a model")
    return written


def recording(transcript: Transcript, run: str) -> dict[str, Any] | None:
    """The recording as data, None for an attempt that was never answered."""
    start, replies = transcript.started, transcript.of("reply")
    if start is None or not replies:
        return None
    section = find_section([start["first"]])
    live = all(reply["source"] in ("live", "recorded") for reply in replies)
    return {
        "source": "recorded" if live else "scripted",
        "by": f"run {run}",
        "model": replies[0]["model"],
        "task": section_digest(section) if section is not None else "",
        "turns": [_turn(reply) for reply in replies],
    }


def _turn(reply: dict[str, Any]) -> dict[str, Any]:
    """Unknown usage and cost are left out."""
    facts: dict[str, Any] = {"content": reply["content"], "stop_reason": reply["stop_reason"]}
    facts |= {name: reply[name] for name in ("usage", "cost_usd") if reply[name] is not None}
    return facts
