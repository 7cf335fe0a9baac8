"""A hand on a run at work: takes requests from the control book and keeps the run's hours.

What was asked is an event before it is acted on, so that a pause, a retuning or a feature taken
out outlives the process.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

from harness.control_book import ControlBook
from harness.record.journal import Journal
from harness.stop import Stop
from orchestrator import events
from orchestrator.errors import MachineError
from orchestrator.runs import controls, hours
from orchestrator.runs.controls import Control
from orchestrator.runs.hours import Hours
from orchestrator.runs.state import RunState

#: Between two looks into the book: a person does not notice, and it costs nothing.
_LOOK_SECONDS = 0.3
#: The longest sleep until a moment: a clock that is set is noticed after that.
_HOUR_SECONDS = 30.0
INTERRUPTED = 130  # what a shell reports after Ctrl-C

#: Sets how many attempts work at once.
SetWorkers = Callable[[int], Awaitable[None]]
#: Sets the run's cap in dollars.
SetBudget = Callable[[float], None]


class Hand:
    """What people have asked of one run, as its workflows need to know it."""

    def __init__(
        self,
        journal: Journal,
        stop: Stop,
        state: Callable[[], RunState],
        set_budget: SetBudget = lambda _usd: None,
    ) -> None:
        self._journal = journal
        self._stop = stop
        self._state = state
        self._set_budget = set_budget
        self._set_workers: SetWorkers | None = None
        self._leave: Callable[[], None] = lambda: None
        self._asked: list[tuple[str, str, str]] = []
        self._skipped: dict[str, str] = {}
        self._changed = asyncio.Event()
        if state().paused is not None:
            stop.pause("person")
        self._remember(state())

    def _remember(self, run: RunState) -> None:
        """What was asked of features before a crash, and not done by then."""
        for id_, asked in run.asked.items():
            feature = run.features.get(id_)
            if feature is not None and controls.is_left(asked, feature):
                self._about(id_, asked.kind, asked.by)

    @property
    def attempts(self) -> int | None:
        """How many attempts a round that opens now gets, None as the feature list says."""
        return self._state().attempts

    def state(self) -> RunState:
        return self._state()

    # ---------------------------------------------------- what the workflows ask

    async def asked(self) -> None:
        """Returns when somebody asked something of a feature that `take` has not given yet."""
        while not self._asked:
            self._changed.clear()
            await self._changed.wait()

    def take(self) -> list[tuple[str, str, str]]:
        """(requeue or skip, feature, by) not given yet, oldest first."""
        taken, self._asked = self._asked, []
        return taken

    async def skip_asked(self, feature: str) -> None:
        """Returns when the feature is to be taken out."""
        while feature not in self._skipped:
            self._changed.clear()
            await self._changed.wait()

    def skipped_by(self, feature: str) -> str | None:
        """Who took the feature out; None when nobody did."""
        return self._skipped.get(feature)

    # ------------------------------------------------------------- while it runs

    @contextlib.asynccontextmanager
    async def at_work(
        self,
        book: ControlBook,
        when: Hours,
        *,
        set_workers: SetWorkers,
        leave: Callable[[], None],
    ) -> AsyncIterator[None]:
        """Take requests, and keep the hours, for as long as the block lasts."""
        self._set_workers, self._leave = set_workers, leave
        workers = self._state().workers
        if workers is not None:
            await set_workers(workers)
        tasks = [asyncio.create_task(self._listen(book)), asyncio.create_task(self._keep(when))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _listen(self, book: ControlBook) -> None:
        while True:
            # A store that is away for a moment is asked again: work goes on without the hand.
            with contextlib.suppress(MachineError):
                for control in await asyncio.to_thread(book.open):
                    text = await self.obey(control)
                    await asyncio.to_thread(book.answer, control.id, text)
            await asyncio.sleep(_LOOK_SECONDS)

    async def obey(self, control: Control) -> str:
        """Do what is asked; the answer in a line. Asked twice is done once."""
        run = self._state()
        text = controls.answer(control, run)
        if controls.refusal(control, run) is not None or controls.is_done(control, run):
            return text
        new = self._journal.write(
            events.ControlTaken(
                feature=control.feature,
                request=control.id,
                kind=control.kind,
                by=control.by,
                again=controls.times(control, run),
                answer=text,
                attempts=control.attempts,
                workers=control.workers,
                budget_usd=control.budget_usd,
            )
        )
        if new:
            await self._act(control)
        return text

    async def _act(self, control: Control) -> None:
        by = f"by {control.by}"
        if control.kind == "pause":
            self._stop.pause("person")
        elif control.kind == "resume":
            self._stop.go_on("person")
        elif control.kind in ("drain", "stop"):
            self._drain(f"asked to {control.kind} {by}; the same command goes on from here")
            if control.kind == "stop":
                self._leave()
        elif control.kind == "retune":
            await self._retune(control)
        elif control.feature is not None:
            self._about(control.feature, control.kind, control.by)

    def _about(self, feature: str, kind: str, by: str) -> None:
        if kind == "skip":
            self._skipped[feature] = by
        else:
            self._skipped.pop(feature, None)
        self._asked.append((kind, feature, by))
        self._changed.set()

    async def _retune(self, control: Control) -> None:
        if control.workers is not None and self._set_workers is not None:
            await self._set_workers(control.workers)
        if control.budget_usd is not None:
            self._set_budget(control.budget_usd)

    def _drain(self, reason: str) -> None:
        if self._stop.request(reason, INTERRUPTED):
            self._journal.write(events.DrainRequested(reason=reason))

    async def _keep(self, when: Hours) -> None:
        """Hold new work outside of the run's hours; drain when its time is up."""
        while True:
            now = datetime.now()
            standing = hours.standing(when, now)
            if standing.over:
                return self._drain(f"{standing.waits}; the same command goes on from here")
            if (standing.waits or None) != self._state().held:
                self._journal.write(events.HoursKept(reason=standing.waits or ""))
            if standing.waits is not None:
                self._stop.pause("hours")
            else:
                self._stop.go_on("hours")
            if standing.change is None:
                return None
            left = standing.change - now
            await asyncio.sleep(min(left, timedelta(seconds=_HOUR_SECONDS)).total_seconds())
