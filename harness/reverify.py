"""Verifies a finished run's patches again and chooses again; runs no agent.

Everything happens in a folder of its own below the run's, in sandboxes of its own: the run's
journal and evidence stay as they are, and nothing is merged.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import attempt, attempt_result, choice, git, inputs, lock, wiring
from harness.inputs import Target
from harness.record import files
from harness.record.clock import SystemClock
from harness.record.journal import Journal, read_events
from harness.record.workspace import RunInfo, Workspace, new_run_id
from harness.review import NoModel
from harness.rounds import key_of
from harness.run_file import RunFile
from harness.services import Services
from harness.verify import record
from orchestrator.errors import InputError
from orchestrator.runs import recheck
from orchestrator.runs.recheck import PlayedRound
from orchestrator.values import AttemptKey, FeatureList

#: Below the run's folder; no feature's folder can begin with a dot.
FOLDER = ".verified"


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What was looked at again, and every difference as a line; `notes`: figures that came out
    otherwise. `folder` has the new evidence."""

    attempts: int
    rounds: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    folder: Path


async def recheck_run(workspace: Workspace, info: RunInfo, only: str | None = None) -> Rechecked:
    """Verify every attempt that a choice was made among, then make each choice; of all features,
    or of `only` one. Time, which a choice counts too, is taken from the run: another machine's
    speed is no difference between attempts.

    Raises `InputError` when the run has not ended, left no lock file, or a commit is gone.
    """
    if not info.finished:
        go_on = workspace.hint("resume", info.id)
        raise InputError(f"run {info.id} has not come to its end; `{go_on}` goes on with it")
    rounds = recheck.played_rounds(read_events(info.events))
    given = lock.given(lock.load(info.folder / lock.NAME), str(info.folder / lock.NAME))
    if only is not None:
        _check(only, given)
        rounds = tuple(r for r in rounds if r.feature == only)
    again = new_run_id(SystemClock().now(), secrets.token_hex(2))
    folder = Workspace(info.folder / FOLDER / again)
    opened = await _opened(workspace, info, folder, given)
    journal = Journal(folder.events(opened.settings.run), opened.settings.run, SystemClock())
    try:
        async with wiring.open_services(opened, journal) as services:
            try:
                return await _Recheck(services, info.folder).all(rounds, folder.root)
            finally:
                await services.provider.close(remove=True)
    finally:
        journal.close()


def _check(only: str, given: FeatureList) -> None:
    ids = [f.id for f in given.features]
    if only not in ids:
        raise InputError(f"no feature is called {only!r}{inputs.nearest(only, ids)}")


async def _opened(
    workspace: Workspace, info: RunInfo, folder: Workspace, given: FeatureList
) -> wiring.Opened:
    """The run's wiring, as it was given, over another workspace. No agent is asked, so that none
    has to be known here."""
    commits = lock.load(info.folder / lock.NAME)["commits"]
    options = replace(
        RunFile.load(workspace.run_file(info.id)).run_options(), workspace=folder.root
    )
    repository = await git.open_repository(inputs.repo_path(given, workspace.root))
    for name in (commits["base"], commits["head"]):
        if await repository.commit_of(name) is None:
            raise InputError(f"{repository.path} does not have commit {name} any more")
    nobody = replace(
        given,
        defaults=replace(given.defaults, agent=inputs.BUILTIN, budget_usd=None),
        features=tuple(replace(f, agent=None) for f in given.features),
    )
    head = commits["head"]
    target = Target(
        repository=repository,
        branch=commits["branch"],
        base=commits["base"],
        head=head,
        integrated={},
        files=frozenset(await repository.files(head)),
    )
    run = f"{info.id}-verify-{secrets.token_hex(2)}"
    workers = inputs.workers(replace(options, workers=None), live=False)
    settings = wiring.settings_of(run, nobody, options, workers=workers)
    return wiring.Opened(nobody, folder, options, target, NoModel(), settings)


class _Recheck:
    """Looks again at the attempts of the run in the folder `old`."""

    def __init__(self, services: Services, old: Path) -> None:
        self._services = services
        self._old = old
        self._notes: list[str] = []
        self._gate = asyncio.Semaphore(services.settings.workers)

    async def all(self, rounds: Sequence[PlayedRound], folder: Path) -> Rechecked:
        keys = [(key_of(r.feature, name), r.commit) for r in rounds for name in r.among]
        tasks = [self._attempt(key, commit) for key, commit in keys]
        verified = await asyncio.gather(*tasks)
        found = [line for lines in verified if lines for line in lines]
        for round_ in rounds:
            found += await self._round(round_)
        count = sum(lines is not None for lines in verified)
        return Rechecked(count, len(rounds), tuple(found), tuple(sorted(self._notes)), folder)

    async def _attempt(self, key: AttemptKey, commit: str) -> tuple[str, ...] | None:
        """The differences; None for an attempt that left nothing to verify."""
        old = self._old / key.feature / key.name
        result, before = attempt_result.load(old), record.load(old)
        new = self._services.attempt_folder(key)
        if result is not None:
            attempt_result.store(new, result)
        if result is None or result.patch is None or before is None:
            return None
        patch = (old / result.patch).read_bytes()
        files.replace(new / attempt_result.PATCH, patch, sync=False)
        async with self._gate:
            now = await attempt.verified(self._services, key, commit, patch)
        record.store(new, replace(now, seconds=before.seconds))
        self._notes += recheck.measures_apart(str(key), before, now)
        return recheck.verdicts_apart(str(key), before, now)

    async def _round(self, round_: PlayedRound) -> tuple[str, ...]:
        keys = {name: key_of(round_.feature, name) for name in round_.among}
        tried = [choice.tried(k, self._services.attempt_folder(k)) for k in keys.values()]
        selection, _ = await choice.choose(
            self._services, round_.feature, keys, round_.commit, choice.gathered(tried)
        )
        return recheck.choices_apart(round_, selection.winner, needs_review=selection.needs_review)
