"""What a run knows of failures: recalls it for a round, and learns from each round's end.

Everything here may happen twice (engine steps are at-least-once): events have keys, new patterns
are those that are not on file, and what a run counted replaces what it had counted before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.attempt_result import PATCH
from harness.learn.index import PatternIndex
from harness.learn.reflection import Reflector
from harness.learn.store import Patterns, PatternStore
from harness.ports import Clock
from harness.record.clock import iso
from harness.record.journal import Journal
from harness.verify.bench import LOG
from harness.verify.patch import read_patch
from orchestrator import events, learning
from orchestrator.errors import InputError, MachineError
from orchestrator.learn import lift
from orchestrator.learn.masking import redact
from orchestrator.learn.signatures import Failed, Signature, of_merge, sign, telling
from orchestrator.learning import Pattern, Recalled
from orchestrator.runs.course import AttemptState, FeatureState
from orchestrator.runs.state import RunState
from orchestrator.values import AttemptKey, AttemptResult, Feature, Verification

#: Of `verify.log`, where what failed is at the end.
_OUTPUT = 60_000
_MAX_FILES = 8


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt of a round as it ended. `folder` has its patch and its `verify.log`."""

    key: AttemptKey
    folder: Path
    result: AttemptResult | None
    verification: Verification | None

    @property
    def passed(self) -> bool:
        return self.verification is not None and self.verification.passed


class Knowledge:
    """One run's access to the patterns of its workspace. `state` is the run's, up to date."""

    def __init__(  # noqa: PLR0913 - what it stands on, each once
        self,
        *,
        run: str,
        store: PatternStore,
        journal: Journal,
        clock: Clock,
        state: Callable[[], RunState],
        reflector: Reflector,
        roots: Sequence[str] = (),
    ) -> None:
        """`roots`: folders that the repository has inside of sandboxes."""
        self._run = run
        self._store = store
        self._journal = journal
        self._clock = clock
        self._state = state
        self._reflector = reflector
        self._roots = tuple(roots)
        self._index = PatternIndex()
        self._turn = asyncio.Lock()  # of learning: a new failure is reflected on once
        self._reflected = 0

    def close(self) -> None:
        self._index.close()

    @contextlib.asynccontextmanager
    async def _never_stopping_the_run(self) -> AsyncIterator[None]:
        """A file that somebody broke while the run goes on costs what could be learned."""
        try:
            yield
        except (InputError, MachineError) as error:
            text = f"nothing is learned or recalled until this is mended: {error}"
            self._journal.write(events.WarningGiven(message=text))

    # ----------------------------------------------------------------- recalling

    async def recall(self, feature: Feature) -> list[Recalled]:
        """What applies to the feature's next round, with what its earlier rounds saw of it."""
        known = self._state().features.get(feature.id)
        seen = _seen(known) if known is not None else {}
        async with self._never_stopping_the_run():
            return await asyncio.to_thread(self._recall, feature, seen)
        return []

    def _recall(self, feature: Feature, seen: Mapping[str, Mapping[str, str]]) -> list[Recalled]:
        self._index.refresh(self._store.load())
        return learning.choose(self._index.find(feature, list(seen)), seen)

    # ------------------------------------------------------------------ learning

    async def learn(self, feature: Feature, tried: Sequence[Tried]) -> None:
        """Sign what failed, keep what is new, and count what every pattern was worth so far."""
        async with self._turn, self._never_stopping_the_run():
            for one in tried:
                if not one.passed:
                    failed = await asyncio.to_thread(_failed, one, feature, self._roots)
                    await self._keep(one, feature, sign(failed), failed)
            await self._count()

    async def learn_refusal(self, feature: Feature, tried: Tried, reason: str) -> None:
        """A winner that could not be merged: a conflict, or red together with the rest."""
        async with self._turn, self._never_stopping_the_run():
            failed = Failed(reason=reason, problems=(reason,))
            await self._keep(tried, feature, (of_merge(reason),), failed)
            await self._count()

    async def _keep(
        self, one: Tried, feature: Feature, found: Sequence[Signature], failed: Failed
    ) -> None:
        names = {"feature": one.key.feature, "attempt": one.key.name}
        for signature in found:
            self._journal.write(_signed(signature, names))
        known = await asyncio.to_thread(self._store.load)
        files = await asyncio.to_thread(touched, one.folder)
        for signature in found:
            pattern = _placed(learning.by_rules(signature), feature, files)
            pattern = replace(pattern, learned=iso(self._clock.now()))
            if signature.key not in known:
                evidence = redact("\n".join((failed.reason, *failed.problems, failed.output)))
                pattern = await self._reflector.reflect(
                    pattern, one.key, feature, evidence, self._reflected
                )
                self._reflected += pattern.by == "model"
                learned = events.PatternLearned(
                    pattern=pattern.id, title=pattern.title, by=pattern.by, **names
                )
                self._journal.write(learned)
            await asyncio.to_thread(self._store.update, joining(pattern))

    async def _count(self) -> None:
        now = iso(self._clock.now())
        verdicts = await asyncio.to_thread(count, self._store, self._run, self._state(), now)
        for p in verdicts:
            self._journal.write(
                events.PatternJudged(pattern=p.id, title=p.title, status=p.status, why=p.status_why)
            )


def count(store: PatternStore, run: str, state: RunState, now: str) -> list[Pattern]:
    """Keep what `run` has seen of every pattern; those whose status that changed."""
    counts = lift.tallies(state)
    verdicts: list[Pattern] = []

    def change(known: Patterns) -> list[Pattern]:
        pairs = [(known[k], t) for k, t in counts.items() if k in known]
        changed = [learning.counted(p, run, t, now) for p, t in pairs]
        verdicts[:] = [p for p in changed if p.status != known[p.id].status]
        return changed

    store.update(change)
    return verdicts


# ------------------------------------------------------------------------------ evidence


def _failed(one: Tried, feature: Feature, roots: tuple[str, ...]) -> Failed:
    result, verification = one.result, one.verification
    return Failed(
        ending=result.ending if result is not None else "cancelled",
        reason=result.reason if result is not None else "",
        problems=verification.problems if verification is not None else (),
        output=_tail(one.folder / LOG),
        commands=(*feature.acceptance, "project tests", "the project's tests"),
        roots=roots,
    )


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _OUTPUT))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def touched(folder: Path) -> tuple[str, ...]:
    """Files that the attempt's patch adds lines to, by its own text."""
    try:
        patch = (folder / PATCH).read_bytes()
    except FileNotFoundError:
        return ()
    named = (path for path in read_patch(patch).added if path.isprintable())
    return tuple(sorted(learning.clean(path, learning.PLACE_CHARS) for path in named)[:_MAX_FILES])


def _placed(pattern: Pattern, feature: Feature, files: tuple[str, ...]) -> Pattern:
    categories = (feature.category,) if feature.category else ()
    return replace(pattern, categories=categories, features=(feature.id,), files=files)


def joining(pattern: Pattern) -> Callable[[Patterns], list[Pattern]]:
    """The change of a store that adds `pattern`, or where it was seen to the one on file."""

    def change(known: Patterns) -> list[Pattern]:
        old = known.get(pattern.id)
        return [pattern if old is None else learning.merged(pattern, old)]

    return change


def _signed(signature: Signature, names: Mapping[str, str]) -> events.Event:
    return events.FailureSigned(
        signature=signature.key,
        kind=signature.kind,
        error=signature.error,
        where=signature.where,
        message=signature.message,
        test=signature.test,
        **names,
    )


def _seen(feature: FeatureState) -> dict[str, dict[str, str]]:
    """Signature -> earlier attempts of this run that met it -> the words of verification, or of
    the merge that was refused."""
    refused = dict(text.split(": ", 1) for text in feature.refusals)
    found: dict[str, dict[str, str]] = {}
    for attempt in feature.attempts.values():
        for key in attempt.signatures:
            words = refused.get(attempt.name) or _words(attempt)
            found.setdefault(key, {})[attempt.name] = words
    return found


def _words(attempt: AttemptState) -> str:
    return next(iter(telling(attempt.problems)), attempt.reason)
