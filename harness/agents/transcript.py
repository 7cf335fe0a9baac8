"""Keeps an attempt's conversation on disk, one line per fact, and rebuilds it after a crash.

`transcript.jsonl` in the attempt's folder is only ever appended to. Lines by `type`:

    start    task {feature, attempt, tier}, model, source, system, first (the user message)
    reply    turn, content, stop_reason, usage, cost_usd, model (that answered), asked (the one
             asked), source, seconds (of the call)
    results  turn, content (`tool_result` blocks; one line per finished call)
    note     kind and what the loop did besides: reminded, shortened, resumed, cut, failed
    end      ending, reason, turns, usage, cost_usd, seconds
    repair   turn, number, text: what verification found; the conversation goes on after its end

Every line has `time` (seconds since the epoch) and `elapsed` (seconds charged so far). A reply
on disk is never asked for again. A last line that a crash cut off is removed and noted.
"""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.ports import ModelReply, ModelRequest
from orchestrator.cost import total
from orchestrator.errors import MachineError
from orchestrator.runs.stuck import Turn
from orchestrator.values import AttemptKey, AttemptResult, Ending, Usage

NAME = "transcript.jsonl"


class Transcript:
    """One attempt's lines, in memory as on disk. One writer; appends are whole lines."""

    def __init__(self, path: Path) -> None:
        """Reads what is there; creates nothing until the first line is written."""
        self._path = path
        self.lines: list[dict[str, Any]] = []
        self.cut = 0  # bytes of a torn last line, which the first write removes
        if path.exists():
            self._load()
        self._torn = self.cut

    def write(self, line_type: str, /, *, time: float, elapsed: float, **facts: Any) -> None:
        line = {"type": line_type, "time": round(time, 3), "elapsed": round(elapsed, 3), **facts}
        # One write of one whole line. No fsync: what is lost with the machine's power is
        # asked again; what a killed process has written is in the kernel's hands already.
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            self._append(data)
        except OSError as error:
            raise MachineError(
                f"{self._path}: cannot be written ({error.strerror or error}); free disk space or "
                "fix its permissions, then give the same command: the attempt goes on from here"
            ) from error
        self.lines.append(json.loads(data))

    def _append(self, data: bytes) -> None:
        handle = self._open()
        try:
            if self._torn:
                os.ftruncate(handle, os.fstat(handle).st_size - self._torn)
                self._torn = 0
            written = os.write(handle, data)
            if written != len(data):
                self._torn = written
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:  # nor is its folder there yet
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o644)

    def end(
        self, key: AttemptKey, ending: Ending, reason: str, *, time: float, elapsed: float
    ) -> AttemptResult:
        """Write how the attempt ended; what it came to."""
        self.write(
            "end",
            time=time,
            elapsed=elapsed,
            ending=ending,
            reason=reason,
            turns=self.turns,
            usage=asdict(self.usage),
            cost_usd=self.cost_usd,
            seconds=round(elapsed, 3),
        )
        done = self.result(key)
        assert done is not None
        return done

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] == kind]

    @property
    def started(self) -> dict[str, Any] | None:
        return next(iter(self.of("start")), None)

    @property
    def elapsed(self) -> float:
        return float(self.lines[-1]["elapsed"]) if self.lines else 0.0

    @property
    def turns(self) -> int:
        return len(self.of("reply"))

    @property
    def usage(self) -> Usage:
        known = (Usage(**reply["usage"]) for reply in self.of("reply") if reply["usage"])
        return sum(known, Usage())

    def last_usage(self, model: str) -> Usage | None:
        """Of the last reply, None when there is none, it did not say, or another was asked."""
        last = self.of("reply")[-1:]
        known = [line["usage"] for line in last if line.get("asked", model) == model]
        return Usage(**known[0]) if known and known[0] else None

    @property
    def cost_usd(self) -> float | None:
        """None as soon as one reply's cost is unknown, or a paid reply was lost."""
        lost = any(note.get("kind") == "lost" for note in self.of("note"))
        return None if lost else total(reply["cost_usd"] for reply in self.of("reply"))

    @property
    def shortened(self) -> int:
        """How many of the oldest messages have had their tool output removed."""
        notes = [note for note in self.of("note") if note.get("kind") == "shortened"]
        return int(notes[-1]["messages"]) if notes else 0

    def result(self, key: AttemptKey) -> AttemptResult | None:
        """What the attempt came to, None while it has not ended, or when it is to be repaired."""
        last = next((n for n in reversed(self.lines) if n["type"] in {"end", "repair"}), None)
        if last is None or last["type"] == "repair":
            return None
        end = last
        return AttemptResult(
            key=key,
            ending=end["ending"],
            reason=end["reason"],
            turns=end["turns"],
            usage=Usage(**end["usage"]),
            cost_usd=end["cost_usd"],
            seconds=end["seconds"],
            repairs=len(self.of("repair")),
        )

    def repaired_after(self, turn: int) -> list[str]:
        """What was asked when verification had turned down what this turn handed in."""
        return [line["text"] for line in self.of("repair") if line["turn"] == turn]

    def open_calls(self) -> list[dict[str, Any]]:
        """The `tool_use` blocks of the last reply that have no result, in order."""
        replies = self.of("reply")
        if not replies:
            return []
        answered = {block["tool_use_id"] for block in self._results(replies[-1]["turn"])}
        return [call for call in calls_of(replies[-1]["content"]) if call["id"] not in answered]

    def acts(self) -> list[Turn]:
        """What each turn called and what came of it, as text, so that circles can be told."""
        found = []
        for reply in self.of("reply"):
            calls = calls_of(reply["content"])
            came = {b["tool_use_id"]: b.get("content") for b in self._results(reply["turn"])}
            done = [json.dumps([c["name"], c["input"]], sort_keys=True) for c in calls]
            results = [json.dumps(came.get(c["id"])) for c in calls]
            found.append(Turn(tuple(done), tuple(results)))
        return found

    def messages(self) -> list[dict[str, Any]]:
        """The conversation in the API's shape, as the next question needs it."""
        start = self.started
        found: list[dict[str, Any]] = [start["first"]] if start else []
        for reply in self.of("reply"):
            found.append({"role": "assistant", "content": reply["content"]})
            answer = self._results(reply["turn"])
            if not calls_of(reply["content"]):
                answer = [{"type": "text", "text": self._reminder(reply["turn"])}]
            asked = self.repaired_after(reply["turn"])
            answer = [*answer, *({"type": "text", "text": text} for text in asked)]
            if answer:
                found.append({"role": "user", "content": answer})
        return found

    def _results(self, turn: int) -> list[dict[str, Any]]:
        return [b for line in self.of("results") if line["turn"] == turn for b in line["content"]]

    def _reminder(self, turn: int) -> str:
        notes = (n for n in self.of("note") if n.get("kind") == "reminded" and n["turn"] == turn)
        return str(next(notes, {"text": "Go on."})["text"])

    def _load(self) -> None:
        data = self._path.read_bytes()
        good = 0
        for raw in data.splitlines(keepends=True):
            line = _parse(raw)
            if line is None:
                break
            self.lines.append(line)
            good += len(raw)
        self.cut = len(data) - good


def reply_facts(reply: ModelReply, request: ModelRequest, seconds: float) -> dict[str, Any]:
    """A reply as the facts of its line; also what later questions repeat of it."""
    return {
        "turn": request.turn,
        "content": _repeatable(reply.content),
        "stop_reason": reply.stop_reason,
        "usage": asdict(reply.usage) if reply.usage is not None else None,
        "cost_usd": reply.cost_usd,
        "model": reply.model,
        "asked": request.model,
        "source": reply.source,
        "seconds": round(seconds, 3),
    }


def calls_of(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(block) for block in content if block.get("type") == "tool_use"]


def _repeatable(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The API refuses to hear back empty text or an empty message, which models do say."""
    kept = [dict(b) for b in content if b.get("type") != "text" or str(b.get("text", "")).strip()]
    return kept or [{"type": "text", "text": "(no words)"}]


def _parse(raw: bytes) -> dict[str, Any] | None:
    """None for a line that is not whole."""
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "type" in line and "elapsed" in line else None
