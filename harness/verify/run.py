"""Verifies one patch, or one merged tree, in clean sandboxes: what the harness itself observed.

In this order, and no further than needed: the patch is inspected and applied to a fork of the
base; each acceptance command runs in a fork of that; the project's tests run in another, under
coverage; what is not yet confirmed by a second process is run again; tools read what changed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.ports import Base, SandboxProvider
from harness.verify import checks, gates, quality, record
from harness.verify.bench import Bench
from harness.verify.checks import Checked
from harness.verify.commands import is_test_file
from harness.verify.coverage_reports import Lines, of_repository, united
from harness.verify.covered import Wanted, lines_of_programs, product, share
from harness.verify.facts import (
    Baseline,
    adopt,
    baseline,
    leave,
    remember,
    suite_command,
    test_files,
)
from harness.verify.judging import judge
from harness.verify.measuring import Measuring
from harness.verify.patch import nearer, stand_ins
from harness.verify.regression import Regression, regress, restore_files
from harness.verify.shared import together
from harness.verify.tree import Tree, listed, patched
from orchestrator.evidence import BY_EXIT
from orchestrator.values import CheckResult, Feature, Project, Verification
from orchestrator.verify.acceptance import is_protected

LOG = "verify.log"
#: All of a verification together may take this many times what one command may.
_TOTAL = 6.0
#: Exams of earlier features that run at once on a merged tree. Each waits for the disk and for
#: its sandbox's start and end as much as for a processor.
_SIDE_BY_SIDE = 4


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """One patch to verify. `timeout` is for one command, in seconds; `folder` is the attempt's
    log folder; `key` names the sandboxes. `protected` are globs no patch may touch. `pending`
    are acceptance commands of other features that are not merged yet. Without `measuring` there
    is no quality.
    """

    provider: SandboxProvider
    base: Base
    patch: bytes
    feature: Feature
    project: Project
    protected: tuple[str, ...]
    folder: Path
    key: str
    pending: tuple[str, ...] = ()
    timeout: float = 600.0
    measuring: Measuring | None = None


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


def _bench(job: VerifyJob | TreeJob) -> Bench:
    total = _TOTAL * job.timeout
    log, reports = job.folder / LOG, job.project.reports
    return Bench(job.provider, job.key, log, job.timeout, total=total, reports=reports)


async def verify(job: VerifyJob) -> Verification:
    """Judge a patch; writes `verify.log` as it goes and `evidence.json` at the end.

    Whatever the patch does is a value. Raises `SandboxError` when the sandbox itself fails.
    """
    bench = _bench(job)
    try:
        async with patched(bench, job.base, job.patch, job.protected) as tree:
            found = await _judge(bench, job, tree)
        for problem in found.problems:
            bench.note(problem)
    finally:
        bench.close()
    record.store(job.folder, found)
    return found


async def verify_tree(job: TreeJob) -> Verification:
    """Judge a merged tree by its features' acceptance and by what passed before it."""
    bench = _bench(job)
    try:
        before = await _baseline(bench, job.before, job.project)
        if job.seen is None:
            found = await _added(bench, job, before)
        else:
            found = await _seen(job, before)
        if found.usable and all(c.passed for c in found.acceptance):
            kept = await _kept(bench, job, before)
            found = replace(found, acceptance=(*found.acceptance, *kept))
        return replace(found, problems=(*found.problems, *_failures(found.acceptance)))
    finally:
        bench.close()


async def _judge(bench: Bench, job: VerifyJob, tree: Tree) -> Verification:
    known = await test_files(bench, job.base)
    new = [path for path in tree.touched if path not in known]
    hiding = (*stand_ins(new, known.__contains__), *nearer(tree.fresh, known))
    if tree.problems or hiding:
        return Verification(
            usable=False,
            acceptance=_not_run(job.feature.acceptance),
            problems=(*tree.problems, *hiding),
        )
    notes = _notes(job, tree)
    bench.trusted = frozenset(known) - set(tree.touched)
    bench.suspects = frozenset(p for p in tree.touched if p not in known or p in job.feature.scope)
    async with _exam(bench, job, tree) as exam:
        if exam is None:
            why = "the test files of the base could not be put back over its changes"
            return Verification(
                usable=False, acceptance=_not_run(job.feature.acceptance), problems=(why,)
            )
        done = await _trusted(bench, job, exam)
    found = Verification(usable=True, acceptance=tuple(c.result for c in done))
    if all(c.passed for c in found.acceptance):
        found = await _widen(bench, job, tree, found, done)
    seconds = _seconds(found)
    notes += tuple(f"{c.name}: {c.detail}" for c in found.acceptance if c.detail == BY_EXIT)
    problems = (*found.problems, *_failures(found.acceptance), *notes)
    return replace(found, seconds=seconds, problems=problems)


@contextlib.asynccontextmanager
async def _exam(bench: Bench, job: VerifyJob, tree: Tree) -> AsyncIterator[Base | None]:
    """The tree that the acceptance runs on: test files of the base as they were, because what an
    exam imports or reads is part of it. What the scope names letter by letter is the attempt's.
    None when they cannot be put back. The second run of an exam is on the tree as it is.
    """
    known = await test_files(bench, job.base)
    changed = [p for p in tree.touched if p in known and p not in job.feature.scope]
    if not changed:
        yield tree.base
        return
    async with bench.fork(tree.base) as sandbox:
        if await restore_files(bench, sandbox, job.base.commit, changed):
            yield await bench.provider.snapshot(sandbox)
        else:
            yield None


async def _trusted(bench: Bench, job: VerifyJob, tree: Base) -> list[Checked]:
    """The acceptance commands; without any, project tests that were red and must turn green."""
    commands = job.feature.acceptance
    if commands or not job.project.test:
        return await _acceptance(bench, job.base, tree, commands)
    before = await baseline(bench, job.base, job.project.test)
    if before.exit == 0 or before.timed_out:
        return []
    one = await checks.check(
        bench, known=job.base, tree=tree, command=job.project.test, name="project tests"
    )
    return [one]


async def _acceptance(
    bench: Bench, known: Base, tree: Base, commands: Sequence[str]
) -> list[Checked]:
    """Each in its own fork. After one that timed out the rest is not run: it would too."""
    done: list[Checked] = []
    for command in commands:
        if done and done[-1].timed_out:
            break
        done.append(await checks.check(bench, known=known, tree=tree, command=command))
    rest = _not_run(commands[len(done) :], "not run: the one before timed out")
    return [*done, *(Checked(r) for r in rest)]


async def _widen(
    bench: Bench, job: VerifyJob, tree: Tree, found: Verification, done: list[Checked]
) -> Verification:
    """Regressions, confirmation, coverage and quality of a patch whose acceptance passed."""
    measured = product(tree.text)
    before = await _baseline(bench, job.base, job.project)
    left_out = before.exams_of(job.pending) if before is not None else frozenset[str]()
    regression = await _regression(bench, job, tree, before, measured)
    if regression.problems:
        return replace(
            found, usable=False, regressions=regression.broken, problems=regression.problems
        )
    if regression.run is not None and not regression.restored:
        await asyncio.to_thread(leave, job.folder, regression.run, left_out)
    lines: Lines = regression.run.lines if regression.run else {}
    seconds = regression.run.result.seconds if regression.run else 0.0
    acceptance = []
    for one in done:
        result, more = await _confirm(bench, tree.base, one, regression, measured)
        acceptance.append(result)
        lines = united(lines, more)
    found = replace(found, acceptance=tuple(acceptance), seconds=seconds)
    if not all(c.passed for c in acceptance):
        return found
    for hits in (regression.run.hits if regression.run else {}, *(one.hits for one in done)):
        wanted = [path for path in tree.text.added if not is_test_file(path)]
        lines = united(lines, of_repository(hits, wanted))
    coverage = await _covered(bench, job, tree, done, lines)
    found = replace(found, coverage=coverage)
    if why := await _closed(bench, job, tree, coverage):
        return replace(found, usable=False, problems=(why,))
    if job.measuring is None:
        return found
    measured_quality = await quality.measure(bench, job.measuring, job.base, tree, measured)
    return replace(found, quality=measured_quality)


async def _covered(
    bench: Bench, job: VerifyJob, tree: Tree, done: Sequence[Checked], lines: Lines
) -> float | None:
    """Share of the added lines that ran: in programs too, where the tests alone are too few."""
    coverage, least = share(tree.text, lines), job.project.min_coverage
    if least is None or coverage is None or coverage >= least:
        return coverage
    before = await _baseline(bench, job.base, job.project)
    exams = [run for one in done for run, _ in one.open]
    left_out = before.exams_of(job.pending) if before is not None else ()
    wanted = Wanted(tuple(product(tree.text)), frozenset(left_out))
    more = await lines_of_programs(bench, tree.base, before, exams, wanted)
    return share(tree.text, united(lines, more))


async def _closed(bench: Bench, job: VerifyJob, tree: Tree, coverage: float | None) -> str:
    """Why a gate of the project's own is closed to the patch; empty when none is."""
    least = job.project.min_coverage
    if least is not None and coverage is not None and coverage < least:
        return f"its tests run {coverage:.0%} of the lines it adds, {least:.0%} are required"
    return await gates.refusal(bench, job.base, tree, job.feature, job.project)


async def _regression(
    bench: Bench, job: VerifyJob, tree: Tree, before: Baseline | None, measured: Sequence[str]
) -> Regression:
    if before is None or (not before.passed and before.exit != 0):
        return Regression()
    known = await test_files(bench, job.base)
    restore = {job.base.commit: [p for p in tree.touched if p in known]}
    return await regress(
        bench,
        job.base,
        tree.base,
        before,
        restore=restore,
        measure=measured,
        leave_out=before.exams_of(job.pending),
    )


async def _baseline(bench: Bench, base: Base, project: Project) -> Baseline | None:
    command = await suite_command(bench, base, project)
    return await baseline(bench, base, command) if command else None


async def _confirm(
    bench: Bench, tree: Base, one: Checked, regression: Regression, measured: Sequence[str]
) -> tuple[CheckResult, Lines]:
    """A second, separate process for each pytest run, unless the regression run was one."""
    result = one.result
    lines: Lines = {}
    for run, wanted in one.open:
        seen = regression.run
        shown = seen is not None and run.strict and seen.consistent and wanted.tests
        if shown and seen is not None and not judge(wanted, seen, bench.suspects):
            continue
        why, again = await checks.confirm(bench, tree, run, wanted, measured)
        lines = united(lines, again.lines)
        total = result.seconds + again.result.seconds
        result = replace(result, seconds=total)
        if why:
            return replace(result, passed=False, detail=why), lines
    return result, lines


# ------------------------------------------------------------- a merged tree


async def _added(bench: Bench, job: TreeJob, before: Baseline | None) -> Verification:
    """The acceptance of what is added, and all that passed before it."""
    done = await _acceptance(bench, job.before, job.tree, job.feature.acceptance)
    found = Verification(usable=True, acceptance=tuple(c.result for c in done))
    if not all(c.passed for c in found.acceptance):
        return found
    regression = await _broken(bench, job, before) if before is not None else Regression()
    if regression.problems:
        return replace(
            found, usable=False, regressions=regression.broken, problems=regression.problems
        )
    confirmed = [(await _confirm(bench, job.tree, one, regression, ()))[0] for one in done]
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
                return _not_run([command], "not run: one before timed out")[0]
            one = await checks.check(bench, known=job.before, tree=job.tree, command=command)
            if one.timed_out:
                late.set()
            if not one.result.passed:
                return one.result
            return (await _confirm(bench, job.tree, one, Regression(), ()))[0]

    return tuple(await together([show(command) for command in rest]))


# --------------------------------------------------------------------- words


def _not_run(commands: Sequence[str], why: str = "not run") -> tuple[CheckResult, ...]:
    return tuple(CheckResult(command, False, why) for command in commands)


def _failures(acceptance: Sequence[CheckResult]) -> tuple[str, ...]:
    failed = tuple(f"{c.name}: {c.detail}" for c in acceptance if not c.passed)
    rest = ("not run: the project's tests, coverage, quality",) if failed else ()
    return (*failed, *rest)


def _notes(job: VerifyJob, tree: Tree) -> tuple[str, ...]:
    """Remarks that disqualify nothing."""
    if not job.feature.scope:
        return ()
    outside = [p for p in tree.touched if not is_protected(p, job.feature.scope)]
    return (f"changes files outside its scope: {listed(outside)}",) if outside else ()


def _seconds(found: Verification) -> float | None:
    total = sum(c.seconds for c in found.acceptance) + (found.seconds or 0.0)
    return total or None
