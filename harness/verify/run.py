"""Verifies one patch in clean sandboxes: what the harness itself observed.

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
from harness.verify.accepting import accept, confirm, failures, not_run
from harness.verify.bench import LOG, TOTAL, Bench
from harness.verify.checks import Checked
from harness.verify.commands import is_test_file
from harness.verify.coverage_reports import Lines, of_repository, united
from harness.verify.covered import Wanted, lines_of_programs, product, share
from harness.verify.facts import Baseline, baseline, leave, project_baseline, test_files
from harness.verify.measuring import Measuring
from harness.verify.patch import nearer, stand_ins
from harness.verify.regression import Regression, regress, restore_files
from harness.verify.tree import Tree, listed, patched
from orchestrator.evidence import BY_EXIT
from orchestrator.values import Feature, Project, Verification
from orchestrator.verify.acceptance import is_protected


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


async def verify(job: VerifyJob) -> Verification:
    """Judge a patch; writes `verify.log` as it goes and `evidence.json` at the end.

    Whatever the patch does is a value. Raises `SandboxError` when the sandbox itself fails.
    """
    total, reports = TOTAL * job.timeout, job.project.reports
    log = job.folder / LOG
    bench = Bench(job.provider, job.key, log, job.timeout, total=total, reports=reports)
    try:
        async with patched(bench, job.base, job.patch, job.protected) as tree:
            found = await _judge(bench, job, tree)
        for problem in found.problems:
            bench.note(problem)
    finally:
        bench.close()
    record.store(job.folder, found)
    return found


async def _judge(bench: Bench, job: VerifyJob, tree: Tree) -> Verification:
    known = await test_files(bench, job.base)
    new = [path for path in tree.touched if path not in known]
    hiding = (*stand_ins(new, known.__contains__), *nearer(tree.fresh, known))
    if tree.problems or hiding:
        return Verification(
            usable=False,
            acceptance=not_run(job.feature.acceptance),
            problems=(*tree.problems, *hiding),
        )
    notes = _notes(job, tree)
    bench.trusted = frozenset(known) - set(tree.touched)
    bench.suspects = frozenset(p for p in tree.touched if p not in known or p in job.feature.scope)
    async with _exam(bench, job, tree) as exam:
        if exam is None:
            why = "the test files of the base could not be put back over its changes"
            return Verification(
                usable=False, acceptance=not_run(job.feature.acceptance), problems=(why,)
            )
        done = await _trusted(bench, job, exam)
    found = Verification(usable=True, acceptance=tuple(c.result for c in done))
    if all(c.passed for c in found.acceptance):
        found = await _widen(bench, job, tree, found, done)
    seconds = _seconds(found)
    notes += tuple(f"{c.name}: {c.detail}" for c in found.acceptance if c.detail == BY_EXIT)
    problems = (*found.problems, *failures(found.acceptance), *notes)
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
        return await accept(bench, job.base, tree, commands)
    before = await baseline(bench, job.base, job.project.test)
    if before.exit == 0 or before.timed_out:
        return []
    one = await checks.check(
        bench, known=job.base, tree=tree, command=job.project.test, name="project tests"
    )
    return [one]


async def _widen(
    bench: Bench, job: VerifyJob, tree: Tree, found: Verification, done: list[Checked]
) -> Verification:
    """Regressions, confirmation, coverage and quality of a patch whose acceptance passed."""
    measured = product(tree.text)
    before = await project_baseline(bench, job.base, job.project)
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
        result, more = await confirm(bench, tree.base, one, regression, measured)
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
    before = await project_baseline(bench, job.base, job.project)
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


def _notes(job: VerifyJob, tree: Tree) -> tuple[str, ...]:
    """Remarks that disqualify nothing."""
    if not job.feature.scope:
        return ()
    outside = [p for p in tree.touched if not is_protected(p, job.feature.scope)]
    return (f"changes files outside its scope: {listed(outside)}",) if outside else ()


def _seconds(found: Verification) -> float | None:
    total = sum(c.seconds for c in found.acceptance) + (found.seconds or 0.0)
    return total or None
