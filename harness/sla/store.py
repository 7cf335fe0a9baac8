"""Keeps samples: one JSONL file for each hour, and hourly summaries of what is older than a day."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness.record import files
from harness.record.journal import Lines
from orchestrator import slas
from orchestrator.errors import MachineError
from orchestrator.sla.values import DAY, HourSummary, Sample

_NAME = "%Y-%m-%dT%H.jsonl"


class SampleStore(Protocol):
    """Where samples are kept. All methods block; callers put them into a thread."""

    def append(self, samples: Sequence[Sample]) -> None:
        """Raises `MachineError` when they cannot be kept."""
        ...

    def samples(self, since: float = 0.0, sla: str | None = None) -> list[Sample]:
        """Those not summarised yet, at or after `since`, oldest first."""
        ...

    def hours(self, sla: str | None = None) -> list[HourSummary]:
        """Summaries of the hours before, oldest first."""
        ...

    def compact(self, now: float, retention: float) -> int:
        """Summarise what is older than a day, drop what is older than `retention` (seconds);
        how many samples were summarised. Running it twice changes nothing."""
        ...


class FileSamples:
    """`SampleStore` in a folder. Several processes may append at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._raw = folder / "samples"
        self._summaries = folder / "hourly.jsonl"

    def append(self, samples: Sequence[Sample]) -> None:
        for name, group in _by_file(samples).items():
            lines = Lines(self._raw / name)
            try:
                for sample in group:
                    lines.append(asdict(sample))
            finally:
                lines.close()

    def samples(self, since: float = 0.0, sla: str | None = None) -> list[Sample]:
        found = [
            Sample(**data)
            for path in self._files()
            if _hour_of(path) + slas.HOUR > since
            for data in _objects(path)
        ]
        wanted = [s for s in found if s.time >= since and sla in {None, s.sla}]
        return sorted(wanted, key=lambda s: s.time)

    def hours(self, sla: str | None = None) -> list[HourSummary]:
        # The last summary of an hour counts: a crash may have left it twice.
        found = {
            (data["sla"], data["hour"]): HourSummary(**data)
            for data in _objects(self._summaries)
            if sla in {None, data["sla"]}
        }
        there = {_hour_of(path) for path in self._files()}
        return sorted(
            (h for h in found.values() if h.hour not in there), key=lambda h: (h.hour, h.sla)
        )

    def compact(self, now: float, retention: float) -> int:
        with self._lock():
            old = [path for path in self._files() if _hour_of(path) + slas.HOUR <= now - DAY]
            done = 0
            for path in old:
                samples = [Sample(**data) for data in _objects(path)]
                self._keep(slas.summarize(samples))
                path.unlink()
                done += len(samples)
            self._drop(now - retention)
            return done

    def _keep(self, summaries: Sequence[HourSummary]) -> None:
        lines = Lines(self._summaries)
        try:
            for summary in summaries:
                lines.append(asdict(summary), sync=summary is summaries[-1])
        finally:
            lines.close()

    def _drop(self, before: float) -> None:
        """At most once for each hour that goes, so that the file is not written without need."""
        summaries = self.hours()
        kept = [s for s in summaries if s.hour >= before]
        if len(kept) < len(summaries):
            text = "".join(json.dumps(asdict(s), separators=(",", ":")) + "\n" for s in kept)
            files.replace(self._summaries, text)

    def _files(self) -> list[Path]:
        return sorted(self._raw.glob("*.jsonl"))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "compaction.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _by_file(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        name = datetime.fromtimestamp(sample.time, UTC).strftime(_NAME)
        groups.setdefault(name, []).append(sample)
    return groups


def _hour_of(path: Path) -> float:
    """When the file's hour begins; for a file that somebody put there, the end of time."""
    try:
        return datetime.strptime(path.name, _NAME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("inf")


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file; a line that a crash cut off is left out."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise MachineError(f"{path}: cannot be read ({error.strerror or error})") from error
    for line in text.splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict):
            yield data
