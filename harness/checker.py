"""Verification as a run needs it: a patch on its base, and the tree that a merge would make."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from harness.git import Repository
from harness.integrate import Winner
from harness.ports import Base, SandboxProvider
from harness.record.workspace import Workspace
from harness.services import Bases
from harness.verify import facts
from harness.verify.bench import LOG, Bench
from harness.verify.cross import Crossed, CrossJob, Rival, compare
from harness.verify.facts import Baseline
from harness.verify.measuring import Measuring
from harness.verify.merged import TreeJob, verify_tree
from harness.verify.run import VerifyJob, verify
from orchestrator.errors import InputError
from orchestrator.values import AttemptKey, Feature, FeatureList, Verification

#: What a shell says of a command that is there but cannot be run, and of one that is not there.
_NO_COMMAND = (126, 127)
#: Seconds that comparing a round's attempts may take.
_ACROSS = 120.0
#: What the last comparison of a round may take when those before it have used that up.
_AGAIN = 30.0


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
    measuring: Measuring

    async def base(self, base: Base) -> tuple[str, ...]:
        minutes = self.given.defaults.timeout_minutes
        log = self.workspace.run_folder(self.run) / LOG
        seconds, reports = minutes * 60, self.given.project.reports
        bench = Bench(self.provider, "base", log, seconds, total=seconds, reports=reports)
        try:
            found = await facts.project_baseline(bench, base, self.given.project)
        finally:
            bench.close()
        if found is None:
            return ()
        if found.exit in _NO_COMMAND and self.given.project.test:
            # Found out anew at the next start, when the command may have been installed.
            facts.forget(base, found.command)
            raise InputError(
                f"project.test `{found.command}`: the shell cannot run it (exit {found.exit}) "
                f"before any change; correct it, or let project.setup install it (see {log})"
            )
        pending = await self._pending(base.commit, None)
        return _tests_before(found, found.exams_of(pending))

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
                measuring=self.measuring,
            )
        )

    async def across(
        self,
        key: AttemptKey,
        feature: Feature,
        base: Base,
        rivals: Sequence[Rival],
        *,
        spent: float,
    ) -> Crossed:
        folder = self.workspace.run_folder(self.run) / feature.id
        most = min(_ACROSS, self._seconds(feature))
        return await compare(
            CrossJob(
                provider=self.provider,
                base=base,
                rivals=tuple(rivals),
                project=self.given.project,
                protected=self.protected(feature),
                log=folder / f"round-{key.round}.across.log",
                key=f"{feature.id}.r{key.round}.across",
                seconds=min(most, max(_AGAIN, most - spent)),
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

    async def _pending(self, commit: str, feature: Feature | None) -> tuple[str, ...]:
        """Acceptance commands of the features that are not merged at `commit`, but for those
        of the `feature` at hand."""
        integrated = await self.repository.integrated(commit)
        own = feature.acceptance if feature is not None else ()
        return tuple(
            command
            for other in self.given.features
            if other.id not in integrated and other != feature
            for command in other.acceptance
            if command not in own
        )

    def _seconds(self, feature: Feature) -> float:
        """For one command: no single check may take longer than the whole attempt may."""
        return (feature.timeout_minutes or self.given.defaults.timeout_minutes) * 60


def _tests_before(found: Baseline, exams: Collection[str]) -> tuple[str, ...]:
    """What the project's tests lack before any change, as warnings. The exams of features that
    are still to come are red, as they should be."""
    tests = f"the project's tests (`{found.command}`)"
    if found.timed_out:
        return (f"{tests} run out of time before any change, so that none of them is required",)
    if found.exit == 0 or (found.failed and found.failed <= set(exams)):
        return ()
    red = len(found.failed - set(exams))
    how = f"{red} failed" if red else f"exit {found.exit}"
    required = "only what passed before is required" if found.passed else "none of them is required"
    return (f"{tests} are red before any change ({how}); {required}",)
