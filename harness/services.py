"""What the workflows of one run work with: its settings and the adapters that were wired for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.agents.task import Agent
from harness.git import Repository
from harness.integrate import Integrator, TreeCheck
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

#: Verifies one attempt's patch against a base: (key, feature, base, patch).
PatchCheck = Callable[[AttemptKey, Feature, Base, bytes], Awaitable[Verification]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the flags decided, after the feature list's defaults."""

    run: str
    workers: int
    sandbox: str
    tier: Tier | None = None
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """One run's wiring. Built by `harness.app`, used by the workflows."""

    settings: Settings
    workspace: Workspace
    features: FeatureList
    repository: Repository
    provider: SandboxProvider
    model: Model
    agent: Agent
    journal: Journal
    commands: CommandLog
    integrator: Integrator
    protected: tuple[str, ...]
    check_patch: PatchCheck
    check_tree: TreeCheck
    write_passes: Callable[[], Awaitable[None]]
    stop: Stop
    #: (feature, round) that is decided: its attempts that have not begun need not begin.
    decided: set[tuple[str, int]] = field(default_factory=set)
    _bases: dict[str, asyncio.Task[Base]] = field(default_factory=dict)

    @property
    def project(self) -> Project:
        return self.features.project

    @property
    def defaults(self) -> Defaults:
        return self.features.defaults

    def feature(self, id_: str) -> Feature:
        return next(f for f in self.features.features if f.id == id_)

    def attempt_folder(self, key: AttemptKey) -> Path:
        return self.workspace.attempt_folder(self.settings.run, key)

    async def base(self, commit: str) -> Base:
        """The prepared base of a commit; prepared once however many ask at the same time."""
        task = self._bases.get(commit)
        if task is None:
            spec = BaseSpec(
                repo=self.repository.path,
                commit=commit,
                setup=self.project.setup,
                env=self.project.env,
            )
            task = asyncio.ensure_future(self.provider.prepare(spec))
            self._bases[commit] = task
        try:
            # Shielded: one cancelled attempt must not take the base away from the others.
            return await asyncio.shield(task)
        except FibreFlowError:
            self._bases.pop(commit, None)
            raise
