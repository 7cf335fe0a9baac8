"""Verification as a run needs it: a patch on its base, and the tree that a merge would make."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.git import Repository
from harness.integrate import Winner
from harness.ports import Base, SandboxProvider
from harness.record.workspace import Workspace
from harness.services import Bases
from harness.verify.run import TreeJob, VerifyJob, verify, verify_tree
from orchestrator.values import AttemptKey, Feature, FeatureList, Verification


@dataclass(frozen=True, slots=True)
class PatchChecker:
    """A `Checker` over `harness.verify`, for one run."""

    given: FeatureList
    workspace: Workspace
    run: str
    repository: Repository
    provider: SandboxProvider
    bases: Bases
    protected: Callable[[Feature], tuple[str, ...]]

    async def patch(
        self, key: AttemptKey, feature: Feature, base: Base, patch: bytes
    ) -> Verification:
        return await verify(
            VerifyJob(
                provider=self.provider,
                base=base,
                patch=patch,
                feature=feature,
                project=self.given.project,
                protected=self.protected(feature),
                folder=self.workspace.attempt_folder(self.run, key),
                key=f"{key.feature}.{key.name}.verify",
                pending=await self._pending(base.commit, feature),
                timeout=self._seconds(feature),
            )
        )

    async def tree(self, winner: Winner, commit: str, parent: str) -> Verification:
        feature = winner.feature
        integrated = await self.repository.integrated(parent)
        kept = (f for f in self.given.features if f.id in integrated and f.id != feature.id)
        seen = self.workspace.attempt_folder(self.run, winner.key)
        return await verify_tree(
            TreeJob(
                provider=self.provider,
                before=await self.bases.of(parent),
                tree=await self.bases.of(commit),
                feature=feature,
                kept=tuple(kept),
                seen=seen if winner.base == parent and winner.verified else None,
                project=self.given.project,
                folder=self.workspace.run_folder(self.run) / feature.id,
                key=f"{feature.id}.tree-{commit[:10]}",
                pending=await self._pending(parent, feature),
                timeout=self._seconds(feature),
            )
        )

    async def _pending(self, commit: str, feature: Feature) -> tuple[str, ...]:
        """Acceptance commands of the features that are not merged at `commit`."""
        integrated = await self.repository.integrated(commit)
        return tuple(
            command
            for other in self.given.features
            if other.id not in integrated and other.id != feature.id
            for command in other.acceptance
            if command not in feature.acceptance
        )

    def _seconds(self, feature: Feature) -> float:
        """For one command: no single check may take longer than the whole attempt may."""
        return (feature.timeout_minutes or self.given.defaults.timeout_minutes) * 60
