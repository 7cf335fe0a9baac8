"""Lets an attempt mend what its verification found, in its own sandbox, while that is cheaper.

The verification still runs elsewhere, on a clean fork. What an earlier try left (its patch and its
evidence) is kept in `try-1`, `try-2`, ... beside the attempt's other files, and a line of the
transcript says what was asked, so that an interrupted repair goes on like any conversation.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.agents.transcript import NAME, Transcript
from harness.attempt_result import PATCH
from harness.record import files
from harness.record.journal import Journal
from harness.verify import record
from orchestrator import events
from orchestrator.values import AttemptLimits, AttemptResult, Verification
from orchestrator.verify import repair
from orchestrator.verify.repair import Allowance

#: Of the attempt's folder, what belongs to one try.
_OF_A_TRY = (record.EVIDENCE, PATCH)


@dataclass(frozen=True, slots=True)
class Repairs:
    """The repairs of one attempt. `most` of them are wanted; `work` lets its agent go on within
    limits and exports the patch, `verify` verifies it."""

    folder: Path
    most: int
    limits: AttemptLimits
    journal: Journal
    work: Callable[[AttemptLimits], Awaitable[AttemptResult]]
    verify: Callable[[bytes], Awaitable[Verification]]

    async def run(self, done: AttemptResult) -> AttemptResult:
        """The attempt's result after as many repairs as were worth it; `done` before them."""
        while self.most > 0 and done.ending == "submitted" and done.patch is not None:
            seen = await self.verify((self.folder / done.patch).read_bytes())
            record.store(self.folder, seen)
            allowed = repair.allowance(self._spent(), [*self._earlier(), seen], self.most)
            if allowed is None:
                break
            self._ask(done, seen, allowed)
            mended = await self.work(self._within(allowed))
            if mended.patch is None:  # it broke off: what was handed in before still stands
                _move(self._try(allowed.number), self.folder)
                return replace(
                    mended,
                    ending="submitted",
                    reason=done.reason,
                    patch=done.patch,
                    repairs=allowed.number,
                )
            done = mended
        return done

    def _ask(self, done: AttemptResult, seen: Verification, allowed: Allowance) -> None:
        """Put the try away, then open the conversation again: a crash between the two finds a
        finished attempt without evidence, which is verified as ever."""
        _move(self.folder, self._try(allowed.number))
        key = done.key
        self.journal.write(
            events.RepairStarted(
                feature=key.feature,
                attempt=key.name,
                number=allowed.number,
                problems=seen.problems,
            )
        )
        transcript = Transcript(self.folder / NAME)
        transcript.write(
            "repair",
            time=transcript.lines[-1]["time"],
            elapsed=transcript.elapsed,
            turn=transcript.turns,
            number=allowed.number,
            text=repair.question(seen),
        )

    def _within(self, allowed: Allowance) -> AttemptLimits:
        """Every limit of the attempt's own holds as well."""
        so_far = Transcript(self.folder / NAME)
        usd = self.limits.usd
        if allowed.usd is not None and so_far.cost_usd is not None:
            most = so_far.cost_usd + allowed.usd
            usd = most if usd is None else min(usd, most)
        turns = min(self.limits.turns, so_far.turns + allowed.turns)
        return replace(self.limits, turns=turns, usd=usd)

    def _spent(self) -> list[repair.Spent]:
        ends = Transcript(self.folder / NAME).of("end")
        return [repair.Spent(end["turns"], end["cost_usd"]) for end in ends]

    def _earlier(self) -> Iterable[Verification]:
        for number in range(1, repair.MAX_REPAIRS + 1):
            seen = record.load(self._try(number))
            if seen is not None:
                yield seen

    def _try(self, number: int) -> Path:
        return self.folder / f"try-{number}"


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name in _OF_A_TRY:
        if (source / name).exists():
            files.replace(target / name, (source / name).read_bytes(), sync=False)
            (source / name).unlink()
