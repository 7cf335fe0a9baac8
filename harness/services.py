"""What the workflows of one run work with: its settings and the adapters that were wired for it."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

from harness.agents.task import Agent
from harness.fleet.member import Fleet
from harness.git import Repository
from harness.hand import Hand
from harness.integrate import Integrator, Winner
from harness.learn.knowledge import Knowledge
from harness.ports import ArtifactStore, Base, BaseSpec, Clock, Model, SandboxProvider
from harness.record import files, taken
from harness.record.journal import CommandLog, Journal
from harness.record.workspace import Workspace
from harness.routing import Router
from harness.stop import Stop
from harness.verify.cross import Crossed, Rival
from orchestrator import events
from orchestrator.errors import (
    FibreFlowError,
    LimitReachedError,
    MachineError,
    ModelOverloadedError,
    ModelQuotaExhaustedError,
    ModelRateLimitedError,
    ModelUnauthorizedError,
    ModelUnreachableError,
)
from orchestrator.values import (
    AttemptKey,
    Defaults,
    Feature,
    FeatureList,
    Project,
    Tier,
    Verification,
)

#: Errors that concern the run, not the work that met them: it stops, and goes on from there.
RUN_ENDING = (
    ModelUnauthorizedError,
    ModelQuotaExhaustedError,
    ModelUnreachableError,
    ModelOverloadedError,  # after all patience with it, as the next
    ModelRateLimitedError,
    LimitReachedError,
    MachineError,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the flags decided, after the feature list's defaults."""

    run: str
    workers: int
    sandbox: str
    tier: Tier | None = None
    budget_usd: float | None = None


class Bases:
    """The prepared base of each commit, prepared once however many ask at the same time."""

    def __init__(
        self,
        provider: SandboxProvider,
        repository: Repository,
        project: Project,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._provider = provider
        self._repository = repository
        self._project = project
        self._journal = journal
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[Base]] = {}

    async def of(self, commit: str) -> Base:
        """Raises `SandboxError` when `project.setup` fails there."""
        task = self._tasks.get(commit)
        if task is None:
            task = asyncio.create_task(self._prepare(commit), context=taken.by_nobody())
            self._tasks[commit] = task
        try:
            # Shielded: one cancelled attempt must not take the base away from the others.
            return await asyncio.shield(task)
        except FibreFlowError:
            self._tasks.pop(commit, None)
            raise

    async def _prepare(self, commit: str) -> Base:
        spec = BaseSpec(
            repo=self._repository.path,
            commit=commit,
            setup=self._project.setup,
            env=self._project.env,
            workspaces=self._project.workspaces,
        )
        began = self._clock.monotonic()
        base = await self._provider.prepare(spec)
        seconds = round(self._clock.monotonic() - began, 3)
        self._journal.write(
            events.BasePrepared(
                commit=commit,
                seconds=seconds,
                cached=not base.fresh,
                workspaces=base.workspaces,
                id=base.id,
            )
        )
        return base


class Checker(Protocol):
    """Verification as the workflows see it."""

    async def base(self, base: Base) -> tuple[str, ...]:
        """What a person should know of the project's own tests before any change, as warnings.
        Raises `InputError` when `project.test` cannot be run at all."""
        ...

    async def patch(
        self, key: AttemptKey, feature: Feature, base: Base, patch: bytes
    ) -> Verification:
        """One attempt's patch on its base; the evidence is left in the attempt's folder."""
        ...

    async def across(
        self,
        key: AttemptKey,
        feature: Feature,
        base: Base,
        rivals: Sequence[Rival],
        *,
        spent: float,
    ) -> Crossed:
        """The usable attempts of the round of `key`, on each other's tests and shared probes.
        `spent`: seconds that the round's comparisons have taken before. Raises `SandboxError`."""
        ...

    async def tree(self, winner: Winner, commit: str, parent: str) -> Verification:
        """The tree of `commit`, which adds the winner to `parent`, as the branch would be."""
        ...


class Gate(Protocol):
    """Whether work may begin on the data as it is. Waits while it should wait."""

    async def admit_run(self) -> None:
        """Raises `SlaViolatedError` when the run may not begin."""
        ...

    async def admit(self, feature: Feature) -> str:
        """Empty when work on the feature may begin, else why it may not."""
        ...


class NoGate:
    """For workspaces where no data has to be fresh."""

    async def admit_run(self) -> None:
        return None

    async def admit(self, feature: Feature) -> str:  # noqa: ARG002 - all features alike
        return ""


@dataclass(frozen=True, slots=True)
class Services:
    """One run's wiring. Built by `harness.app`, used by the workflows.

    `protected`: globs of what an attempt at a feature must leave alone. `write_passes` brings
    `passes` in the user's list up to date.
    """

    settings: Settings
    workspace: Workspace
    features: FeatureList
    repository: Repository
    protected: Callable[[Feature], tuple[str, ...]]
    provider: SandboxProvider
    bases: Bases
    model: Model
    agent: Agent
    checker: Checker
    journal: Journal
    commands: CommandLog
    integrator: Integrator
    router: Router
    write_passes: Callable[[], Awaitable[None]]
    knowledge: Knowledge
    gate: Gate = field(default_factory=NoGate)
    stop: Stop = field(default_factory=Stop)
    hand: Hand | None = None
    fleet: Fleet | None = None
    artifacts: ArtifactStore | None = None
    #: (feature, round) that is decided: its attempts that have not begun need not begin.
    decided: set[tuple[str, int]] = field(default_factory=set)

    @property
    def project(self) -> Project:
        return self.features.project

    @property
    def defaults(self) -> Defaults:
        return self.features.defaults

    @property
    def run_folder(self) -> Path:
        return self.workspace.run_folder(self.settings.run)

    def feature(self, id_: str) -> Feature:
        return next(f for f in self.features.features if f.id == id_)

    def attempt_folder(self, key: AttemptKey) -> Path:
        return self.workspace.attempt_folder(self.settings.run, key)

    def install(self, workflow: str, generation: int) -> None:
        """An attempt of a fleet has ended: the folder in which that was done becomes its own.
        Those of earlier generations stay beside it, and whoever may still write there."""
        _, feature, name = workflow.split("/")
        final = self.run_folder / feature / name
        made = final.with_name(f"{name}.g{generation}")
        if made.is_dir() and not final.exists():
            made.rename(final)

    def _decision_file(self, feature: str, round_: int) -> str:
        return f"{self.run_folder}/{feature}/round-{round_}.decided"

    def decide(self, feature: str, round_: int) -> None:
        """From here on no attempt of this round begins, in this process or a later one: those
        that a crash interrupted are recovered before the feature comes to cancel them."""
        self.decided.add((feature, round_))
        files.replace(Path(self._decision_file(feature, round_)), "")

    def is_decided(self, feature: str, round_: int) -> bool:
        known = (feature, round_) in self.decided
        # Asked many times in an attempt: of another process's decision only the file tells.
        return known or os.path.exists(self._decision_file(feature, round_))  # noqa: PTH110

    async def stop_for(self, error: FibreFlowError) -> NoReturn:
        """Begin to drain for an error that concerns the run, and leave the caller's work for the
        next start. Call it outside of `stop.work()`."""
        spent = isinstance(error, LimitReachedError | ModelQuotaExhaustedError)
        if self.stop.request(str(error), error.exit_code, spent=spent):
            # When it is the journal that cannot be written, the reason is said on leaving.
            with contextlib.suppress(MachineError):
                self.journal.write(events.LimitHit(what=str(error)))
        await self.stop.hold()
