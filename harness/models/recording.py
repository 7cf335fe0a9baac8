"""Writes what models said in a run's transcripts as recordings, which replay that run offline."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.agents.prompts import find_section, section_digest
from harness.agents.transcript import NAME, Transcript
from harness.record import files
from harness.record.journal import read_events
from orchestrator.errors import InputError
from orchestrator.events import ReflectionFinished


def make_folder(target: Path) -> None:
    """Raises `InputError` when `target` cannot be a folder of recordings: told before a run, for
    its end is too late."""
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{target}: recordings cannot be written there ({error.strerror or error}); "
            "name a folder, or one that can be made"
        ) from error


def write(run_folder: Path, target: Path, only: Collection[str] | None = None) -> int:
    """Recordings of all attempts of a run below `target`, or of `only` some (`feature/attempt`),
    one file each; how many, 0 when no model was asked. Replies that a model gave live are
    `recorded`, with their usage and cost; others stay `scripted`.

    Raises `MachineError` when they cannot be written.
    """
    written = 0
    asides = _asides(run_folder / "events.jsonl")
    for path in sorted(run_folder.glob(f"*/*/{NAME}")):
        attempt = path.parent
        if only is not None and f"{attempt.parent.name}/{attempt.name}" not in only:
            continue
        found = recording(Transcript(path), run_folder.name)
        if found is not None:
            beside = asides.get((attempt.parent.name, attempt.name), [])
            found |= {"asides": beside} if beside else {}
            files.replace(target / attempt.parent.name / f"{attempt.name}.yaml", _text(found))
            written += 1
    return written


def recording(transcript: Transcript, run: str) -> dict[str, Any] | None:
    """The recording as data, None for an attempt that was never answered."""
    start, replies = transcript.started, transcript.of("reply")
    if start is None or not replies:
        return None
    section = find_section([start["first"]])
    live = all(reply["source"] in ("live", "recorded") for reply in replies)
    lost = {note["turn"] for note in transcript.of("note") if note.get("kind") == "lost"}
    usual = replies[0]["model"]
    return {
        "source": "recorded" if live else "scripted",
        "by": f"run {run}",
        "model": usual,
        "task": section_digest(section) if section is not None else "",
        "turns": [_turn(reply, usual, lost=reply["turn"] in lost) for reply in replies],
    }


def _asides(path: Path) -> Mapping[tuple[str, str], list[dict[str, Any]]]:
    """By feature and attempt, what was answered to questions about it. What was lost is left out:
    nobody knows what it said."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in read_events(path) if path.is_file() else ():
        if isinstance(event, ReflectionFinished) and event.said:
            said = {"content": [{"type": "text", "text": event.said}], "stop_reason": "end_turn"}
            usage = asdict(event.usage) if event.usage is not None else None
            facts = {"model": event.model, "usage": usage, "cost_usd": event.cost_usd}
            told = {name: value for name, value in facts.items() if value is not None}
            by_attempt = found.setdefault((event.feature or "", event.attempt or ""), [])
            by_attempt.append({"about": event.pattern, **said, **told})
    return found


def _turn(reply: dict[str, Any], usual: str, *, lost: bool) -> dict[str, Any]:
    """What is unknown is left out: usage, cost, and what a turn cost whose first reply was lost."""
    facts: dict[str, Any] = {"content": reply["content"], "stop_reason": reply["stop_reason"]}
    if reply["model"] != usual:
        facts["model"] = reply["model"]
    if reply["usage"] is not None:
        facts["usage"] = reply["usage"]
    if reply["cost_usd"] is not None and not lost:
        facts["cost_usd"] = reply["cost_usd"]
    return facts


def _text(found: dict[str, Any]) -> str:
    """As YAML. Half a surrogate pair, which YAML has no way to write, becomes a question mark."""
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    sound = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times faster where built
    return str(yaml.dump(sound, Dumper=dumper, sort_keys=False, allow_unicode=True))
