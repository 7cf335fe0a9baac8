"""Runs a feature's acceptance commands on a tree, and what confirms them: a second process each."""

from collections.abc import Sequence
from dataclasses import replace

from harness.ports import Base
from harness.verify import checks
from harness.verify.bench import Bench
from harness.verify.checks import Checked
from harness.verify.coverage_reports import Lines, united
from harness.verify.judging import judge
from harness.verify.regression import Regression
from orchestrator.values import CheckResult


async def accept(bench: Bench, known: Base, tree: Base, commands: Sequence[str]) -> list[Checked]:
    """Each in its own fork. After one that timed out the rest is not run: it would too."""
    done: list[Checked] = []
    for command in commands:
        if done and done[-1].timed_out:
            break
        done.append(await checks.check(bench, known=known, tree=tree, command=command))
    rest = not_run(commands[len(done) :], "not run: the one before timed out")
    return [*done, *(Checked(r) for r in rest)]


async def confirm(
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


def not_run(commands: Sequence[str], why: str = "not run") -> tuple[CheckResult, ...]:
    return tuple(CheckResult(command, False, why) for command in commands)


def failures(acceptance: Sequence[CheckResult]) -> tuple[str, ...]:
    failed = tuple(f"{c.name}: {c.detail}" for c in acceptance if not c.passed)
    rest = ("not run: the project's tests, coverage, quality",) if failed else ()
    return (*failed, *rest)
