"""What the workflows of one run work with: its settings and the adapters that were wired for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.agents.task import Agent
from harness.git import Repository
from harness.integrate import Integrator, Winner
from harness.ports import Base, BaseSpec, Model, SandboxProvider
from harness.record.journal import CommandLog, Journal
from harness.record.workspace import Workspace
from harness.stop import Stop
from orchestrator.errors import FibreFlowError
from orchestrator.values import (
    AttemptKey,
    Defaults,
    Feature,
    FeatureList,
    Project,
    Tier,
    Verification,
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

    def __init__(self, provider: SandboxProvider, repository: Repository, project: Project) -> None:
        self._provider = provider
        self._repository = repository
        self._project = project
        self._tasks: dict[str, asyncio.Task[Base]] = {}

    async def of(self, commit: str) -> Base:
        """Raises `SandboxError` when `project.setup` fails there."""
        task = self._tasks.get(commit)
        if task is None:
            spec = BaseSpec(
                repo=self._repository.path,
                commit=commit,
                setup=self._project.setup,
                env=self._project.env,
            )
            task = asyncio.create_task(self._provider.prepare(spec))
            self._tasks[commit] = task
        try:
            # Shielded: one cancelled attempt must not take the base away from the others.
            return await asyncio.shield(task)
        except FibreFlowError:
            self._tasks.pop(commit, None)
            raise


class Checker(Protocol):
    """Verification as the workflows see it."""

    async def patch(
        self, key: AttemptKey, feature: Feature, base: Base, patch: bytes
    ) -> Verification:
        """One attempt's patch on its base; the evidence is left in the attempt's folder."""
        ...

    async def tree(self, winner: Winner, commit: str, parent: str) -> Verification:
        """The tree of `commit`, which adds the winner to `parent`, as the branch would be."""
        ...


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
    write_passes: Callable[[], Awaitable[None]]
    stop: Stop = field(default_factory=Stop)
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
