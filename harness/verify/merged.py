"""Verifies one merged tree in clean sandboxes: the acceptance of what was merged, now and before,
and the tests that passed on the head it was built on."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from harness.ports import Base, SandboxProvider
from harness.verify import checks
from harness.verify.accepting import accept, confirm, failures, not_run
from harness.verify.bench import LOG, TOTAL, Bench
from harness.verify.facts import Baseline, adopt, project_baseline, remember, test_files
from harness.verify.regression import Regression, regress
from harness.verify.shared import together
from orchestrator.values import CheckResult, Feature, Project, Verification

#: Exams of earlier features that run at once on a merged tree. Each waits for the disk and for
#: its sandbox's start and end as much as for a processor.
_SIDE_BY_SIDE = 4


@dataclass(frozen=True, slots=True)
class TreeJob:
    """One merged commit to verify: `tree` is its base, `before` the head it was built on.

    `feature` is what it adds, `kept` what was merged before: the acceptance of all must hold.
    `pending` as in `VerifyJob`.
    `seen`: the log folder of a verification that passed on a tree with the very same files,
    which is not repeated.
    """

    provider: SandboxProvider
    before: Base
    tree: Base
    feature: Feature
    kept: tuple[Feature, ...]
    seen: Path | None
    project: Project
    folder: Path
    key: str
    pending: tuple[str, ...] = ()
    timeout: float = 600.0


async def verify_tree(job: TreeJob) -> Verification:
    """Judge a merged tree by its features' acceptance and by what passed before it."""
    total, reports = TOTAL * job.timeout, job.project.reports
    log = job.folder / LOG
    bench = Bench(job.provider, job.key, log, job.timeout, total=total, reports=reports)
    try:
        before = await project_baseline(bench, job.before, job.project)
        if job.seen is None:
            found = await _added(bench, job, before)
        else:
            found = await _seen(job, before)
        if found.usable and all(c.passed for c in found.acceptance):
            kept = await _kept(bench, job, before)
            found = replace(found, acceptance=(*found.acceptance, *kept))
        return replace(found, problems=(*found.problems, *failures(found.acceptance)))
    finally:
        bench.close()


async def _added(bench: Bench, job: TreeJob, before: Baseline | None) -> Verification:
    """The acceptance of what is added, and all that passed before it."""
    done = await accept(bench, job.before, job.tree, job.feature.acceptance)
    found = Verification(usable=True, acceptance=tuple(c.result for c in done))
    if not all(c.passed for c in found.acceptance):
        return found
    regression = await _broken(bench, job, before) if before is not None else Regression()
    if regression.problems:
        return replace(
            found, usable=False, regressions=regression.broken, problems=regression.problems
        )
    confirmed = [(await confirm(bench, job.tree, one, regression, ()))[0] for one in done]
    return replace(found, acceptance=tuple(confirmed))


async def _broken(bench: Bench, job: TreeJob, before: Baseline) -> Regression:
    if not before.passed and before.exit != 0:
        return Regression()
    old, new = await test_files(bench, job.before), await test_files(bench, job.tree)
    changed = [path for path, blob in old.items() if new.get(path) != blob]
    restore = {job.before.commit: changed} if changed else {}
    left_out = before.exams_of(job.pending)
    regression = await regress(
        bench, job.before, job.tree, before, restore=restore, leave_out=left_out
    )
    seen = regression.run
    if seen is not None and not restore and before.passed <= seen.passed:
        await remember(job.tree, before.command, seen, left_out)
    return regression


async def _seen(job: TreeJob, before: Baseline | None) -> Verification:
    """The same files were verified as the winner's patch on this very head."""
    assert job.seen is not None
    if before is not None:
        await adopt(job.tree, before.command, job.seen)
    checks = tuple(CheckResult(c, True, "seen on these files") for c in job.feature.acceptance)
    return Verification(usable=True, acceptance=checks)


async def _kept(bench: Bench, job: TreeJob, before: Baseline | None) -> tuple[CheckResult, ...]:
    """Acceptance of earlier features, unless the project's tests have just shown it: tests that
    passed before the merge were run on the tree and still pass. Some at once, each in its own
    fork, which sees nothing of the others: the merges behind this one wait for them."""
    own = set(job.feature.acceptance)
    commands = dict.fromkeys(c for f in job.kept for c in f.acceptance if c not in own)
    rest = [c for c in commands if before is None or not before.covers(c)]
    places, late = asyncio.Semaphore(_SIDE_BY_SIDE), asyncio.Event()

    async def show(command: str) -> CheckResult:
        async with places:
            if late.is_set():
                return not_run([command], "not run: one before timed out")[0]
            one = await checks.check(bench, known=job.before, tree=job.tree, command=command)
            if one.timed_out:
                late.set()
            if not one.result.passed:
                return one.result
            return (await confirm(bench, job.tree, one, Regression(), ()))[0]

    return tuple(await together([show(command) for command in rest]))
