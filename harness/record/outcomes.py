"""Reads what came of the attempts of a workspace's earlier runs: tiers, verdicts, and prices."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.record.workspace import Workspace
from orchestrator import events
from orchestrator.routing.odds import Outcome
from orchestrator.values import TIERS, Tier

#: The types that matter here; a line is parsed only when it names one of them.
_TYPES = ("RoundStarted", "AttemptStarted", "AttemptFinished", "VerificationFinished")
_MARKS = tuple(f'"type":"{name}"'.encode() for name in _TYPES)


@dataclass
class Ledger:
    """Verdicts and costs of attempts, gathered from events in their order.

    Only live attempts count: what a recording did says nothing about a model. `running` are
    those that began and have not ended.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    costs: dict[Tier, list[float]] = field(default_factory=lambda: {t: [] for t in TIERS})
    running: dict[tuple[str, str], Tier] = field(default_factory=dict)
    _categories: dict[str, str] = field(default_factory=dict)
    _begun: dict[tuple[str, str], tuple[Tier, str]] = field(default_factory=dict)

    def add(self, event: events.Event) -> None:
        key = (event.feature or "", event.attempt or "")
        if isinstance(event, events.RoundStarted):
            self._categories[key[0]] = event.category
        elif isinstance(event, events.AttemptStarted):
            if event.source == "live" and event.tier in TIERS:
                tier: Tier = event.tier
                self._begun[key] = (tier, event.agent)
                self.running[key] = tier
        elif isinstance(event, events.AttemptFinished):
            self._finished(key, event)
        elif isinstance(event, events.AttemptCancelled):
            self.running.pop(key, None)
        elif isinstance(event, events.VerificationFinished) and key in self._begun:
            tier, agent = self._begun[key]
            category = self._categories.get(key[0], "")
            self.outcomes.append(Outcome(tier, category, agent, event.passed))

    @property
    def begun(self) -> int:
        """How many attempts have begun; never fewer than before, while a run is followed."""
        return len(self._begun)

    def _finished(self, key: tuple[str, str], event: events.AttemptFinished) -> None:
        self.running.pop(key, None)
        if key in self._begun and event.cost_usd is not None and event.ending == "submitted":
            self.costs[self._begun[key][0]].append(event.cost_usd)

    def mean_usd(self, tier: Tier) -> float | None:
        """What an attempt that came to its end cost on this tier; None below three of them."""
        known = self.costs[tier]
        return sum(known) / len(known) if len(known) >= 3 else None


def read(workspace: Workspace, *, runs: int, but: str) -> Ledger:
    """The newest `runs` runs of the workspace, without the run `but`."""
    ledger = Ledger()
    chosen = [run for run in workspace.runs() if run.id != but][:runs]
    for run in reversed(chosen):
        for event in _events(run.events):
            ledger.add(event)
        ledger.running.clear()
        ledger._begun.clear()
    return ledger


def _events(path: Path) -> Iterator[events.Event]:
    """Lines that cannot be read are passed over: history is advice, not a book."""
    try:
        with path.open("rb") as lines:
            for line in lines:
                if not any(mark in line for mark in _MARKS):
                    continue
                event = _parse(line)
                if event is not None:
                    yield event
    except OSError:
        return


def _parse(line: bytes) -> events.Event | None:
    try:
        data: Any = json.loads(line)
        return events.from_json(data) if isinstance(data, dict) else None
    except (ValueError, TypeError):
        return None
