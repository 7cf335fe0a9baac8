"""Runs the project's tests on a tree: what passed on the base must pass still."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.ports import Base, Sandbox
from harness.verify.bench import Bench
from harness.verify.checks import DISHONEST, tail, timed_out
from harness.verify.facts import Baseline, run_plain, run_suite
from harness.verify.judging import judge, tampered
from harness.verify.suite import Expected, TestRun, settled
from harness.verify.tree import listed

_TWINS = 1.0  # seconds: a suite is larger than an exam, and is watched for breaking by accident too


@dataclass(frozen=True, slots=True)
class Regression:
    """`broken` are node ids; `problems` say it in words; `run` is None when nothing was run.
    `restored`: test files were put back first, so that `run` is not of the tree as it is."""

    run: TestRun | None = None
    broken: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    restored: bool = False


async def regress(  # noqa: PLR0913 - two trees and how to compare them
    bench: Bench,
    known: Base,
    tree: Base,
    before: Baseline,
    *,
    restore: Mapping[str, Sequence[str]],
    measure: Sequence[str] = (),
    leave_out: Collection[str] = (),
) -> Regression:
    """`known` is the base that `before` was found on, `tree` what is judged by it.

    `restore`: commit -> test files put back from it, so that no attempt weakens them.
    `leave_out`: node ids that fail on `known` and are other features' exams.

    Tests that fail are run once more by themselves in a fresh fork before they count: a test
    that fails one time in many is not the patch's fault.
    """
    config = {"measure": list(measure), "drop": sorted(leave_out)}
    run = await _once(bench, tree, before, restore, {**config, "twins": _TWINS})
    if before.run is None:
        return await _by_exit(bench, tree, before, restore, run)
    if run.result.timed_out:
        return Regression(run, (), (f"the project's tests: {timed_out(run.result)}",))
    if run.reported is None and before.passed:
        return Regression(run, (), (f"the project's tests: {_no_report(run)}",))
    if why := tampered(run, before.foreign, bench.trusted, bench.suspects):
        return Regression(run, (), (f"the project's tests: {DISHONEST}: {why}",))
    broken = await _missed(bench, known, before, before.passed, run)
    # Where all was green before, nothing red may be merged: not even an attempt's own tests.
    red = sorted(run.failed - set(broken)) if before.exit == 0 else []
    if broken or red:
        again = await _once(bench, tree, before, restore, {"keep": [*broken, *red]})
        broken = sorted(set(broken) - again.passed)
        red = sorted(set(red) - again.passed)
    problems = [f"breaks tests that passed: {listed(broken)}"] if broken else []
    problems += [f"adds tests that fail: {listed(red)}"] if red else []
    return Regression(run, tuple(broken), tuple(problems), restored=any(restore.values()))


async def _missed(
    bench: Bench, known: Base, before: Baseline, passed: frozenset[str], run: TestRun
) -> list[str]:
    """Of `passed`, what did not pass in `run`; an id that changes from run to run is met by
    its function's other cases, provided that none of them failed."""
    missed = sorted(passed - run.passed)
    unseen = [test for test in missed if "[" in test and test not in run.tests]
    if not unseen or before.run is None:
        return missed
    wanted = await settled(bench, known, before.run, Expected(dict.fromkeys(unseen, False)))
    bad = {test for test, _ in judge(wanted, run)}
    return [t for t in missed if t not in unseen or t in bad or t.partition("[")[0] in bad]


async def _by_exit(
    bench: Bench,
    tree: Base,
    before: Baseline,
    restore: Mapping[str, Sequence[str]],
    run: TestRun,
) -> Regression:
    restored = any(restore.values())
    if not (missed := before.passed - run.passed) and (before.exit != 0 or run.result.ok):
        return Regression(run, restored=restored)
    again = await _once(bench, tree, before, restore, {})
    # Once more before it counts, test by test where a report tells them apart.
    missed -= again.passed
    if not missed and (before.exit != 0 or again.result.ok):
        return Regression(again, restored=restored)
    if missed:
        problem = f"breaks tests that passed: {listed(sorted(missed))}"
        return Regression(run, tuple(sorted(missed)), (problem,))
    why = timed_out(run.result) if run.result.timed_out else f"exit {run.result.exit}"
    return Regression(
        run,
        (before.command,),
        (f"breaks the project's tests, which passed: {why}: {tail(run.result)}",),
    )


async def _once(
    bench: Bench,
    tree: Base,
    before: Baseline,
    restore: Mapping[str, Sequence[str]],
    config: Mapping[str, Any],
) -> TestRun:
    async with bench.fork(tree) as sandbox:
        for commit, paths in restore.items():
            await restore_files(bench, sandbox, commit, paths)
        if before.run is None:
            return await run_plain(bench, sandbox, before.command)
        return await run_suite(bench, sandbox, before.command, config)


async def restore_files(bench: Bench, sandbox: Sandbox, commit: str, paths: Sequence[str]) -> bool:
    """Put files back by git's own checkout, with an index of its own: it knows modes, links and
    filters. False when that failed."""
    if not paths:
        return True
    named = " ".join(shlex.quote(p) for p in paths)
    git = shlex.quote(sandbox.base_git)
    bench.note(f"restore {listed(paths)}")
    result = await bench.run(
        sandbox,
        f"d=$(mktemp -d) && cp {git}/index $d/index && GIT_INDEX_FILE=$d/index "
        f"git --git-dir={git} --work-tree={shlex.quote(sandbox.workdir)} "
        f"checkout -f {shlex.quote(commit)} -- {named}",
    )
    if not result.ok:
        bench.output(result)
    return result.ok


def _no_report(run: TestRun) -> str:
    if run.result.exit in {0, 1}:
        return f"{DISHONEST}: exit {run.result.exit} and no report"
    return f"exit {run.result.exit} before any result: {tail(run.result)}"
