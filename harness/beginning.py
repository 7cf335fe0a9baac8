"""Writes down what a run begins with: the first events of its journal."""

import os
from typing import TYPE_CHECKING

from harness import forewarning
from harness.record.journal import Journal
from harness.run_file import RunFile
from orchestrator import events

if TYPE_CHECKING:
    from harness.wiring import Opened


async def announce(opened: "Opened", file: RunFile, journal: Journal, *, resumed: bool) -> None:
    """Once for a run, and what is new at each start."""
    given, target = opened.given, opened.target
    if resumed:
        journal.write(events.RunResumed(pid=os.getpid()))
    journal.write(
        events.RunStarted(
            repo=str(target.repository.path),
            branch=target.branch,
            base=target.base,
            features={
                f.id: {
                    "depends_on": list(f.depends_on),
                    "attempts": f.attempts or given.defaults.attempts,
                }
                for f in given.features
            },
            integrated=tuple(file.done),
            skipped=tuple(i for i, end in file.held.items() if end == "skipped"),
            rounds=given.defaults.rounds,
            model=opened.model.source,
            sandbox=opened.settings.sandbox,
            budget_usd=opened.settings.budget_usd,
            pid=os.getpid(),
            workspace=str(opened.workspace.root),
        )
    )
    for text in [*forewarning.warnings(opened), *await forewarning.unseen(opened)]:
        journal.write(events.WarningGiven(message=text))
    for id_, end in file.held.items():
        if end == "review":
            attempt, since = file.waiting.get(id_, ("", ""))
            why = f"waits for a person since run {since}" if since else "waits for a person"
            journal.write(
                events.ReviewRequested(
                    feature=id_, attempt=attempt or None, reasons=(why,), since=since
                )
            )
