"""Runs one acceptance command on a tree and decides whether it passed, and who says so."""

import re
import secrets
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from posixpath import basename

from harness.ports import Base, ExecResult
from harness.verify import reports
from harness.verify.bench import Bench
from harness.verify.commands import TestCommand, hidden_command, read_command
from harness.verify.coverage_reports import Hits
from harness.verify.facts import may_hide_tests
from harness.verify.judging import judge, tampered
from harness.verify.junit import MAX_BYTES, read_junit
from harness.verify.patch import shown
from harness.verify.reports import Told
from harness.verify.suite import (
    TWINS,
    Canary,
    Expected,
    TestRun,
    expected,
    run_tests,
    settled,
)
from orchestrator.evidence import BY_EXIT
from orchestrator.values import CheckResult

DISHONEST = "the test run does not report what it ran"
_NOT_AS_ENDED = "a failing test planted among its own was not reported as it ended"

#: The report, when the command writes one, leaves by standard output after everything else.
_PLAIN = """
export FIBREFLOW_JUNIT="${{TMPDIR:-/tmp}}/junit-{token}.xml"
exec 3>&1 1>&2
( eval {command} ) 3>&- </dev/null
code=$?
[ -f "$FIBREFLOW_JUNIT" ] && cat "$FIBREFLOW_JUNIT" >&3
exit $code
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """One command's outcome. `open` are test runs seen once, with a canary; a second, separate
    process must still show the same passes before the check counts. `hits` are of a coverage
    report that it left."""

    result: CheckResult
    open: tuple[tuple[TestCommand, Expected], ...] = ()
    timed_out: bool = False
    hits: Hits = field(default_factory=dict)


async def check(bench: Bench, *, known: Base, tree: Base, command: str, name: str = "") -> Checked:
    """Run `command` in a fork of `tree`; what it must run is read from the base `known`."""
    runs = read_command(command) or await _hidden(bench, known, command)
    if not runs:
        return await _plain(bench, tree, command, name or command)
    seconds, open_ = 0.0, []
    for run in runs:
        wanted = await expected(bench, known, run)
        why, seen, wanted = await _with_canary(bench, known, tree, run, wanted)
        seconds += seen.result.seconds
        if why:
            failed = CheckResult(name or command, False, why, seconds)
            return Checked(failed, timed_out=seen.result.timed_out)
        if run.hidden and seen.wrote_junit:  # it may tell of more than the tests within
            plain = await _plain(bench, tree, command, name or command)
            if not plain.result.passed:
                return plain
        open_.append((run, wanted))
    return Checked(CheckResult(name or command, True, "", seconds), tuple(open_))


async def _hidden(bench: Bench, known: Base, command: str) -> tuple[TestCommand, ...]:
    """The command as one that runs tests somewhere within, if it does so on the base."""
    if not await may_hide_tests(bench, known, command):
        return ()
    hidden = hidden_command(command)
    return (hidden,) if (await expected(bench, known, hidden)).parts else ()


async def confirm(  # the second, separate process of a check that passed with its canary
    bench: Bench, tree: Base, run: TestCommand, wanted: Expected, measure: Sequence[str]
) -> tuple[str, TestRun]:
    """Run without a canary: it must exit 0 and report the same passes. Says why not."""
    async with bench.fork(tree) as sandbox:
        seen = await run_tests(bench, sandbox, run, config={"measure": list(measure)})
    seen = _by_its_options(bench, run, seen)
    if seen.result.timed_out:
        return timed_out(seen.result), seen
    if why := tampered(seen, wanted.foreign, bench.trusted, bench.suspects):
        return f"{DISHONEST}: {why}", seen
    bad = judge(wanted, seen, bench.suspects)
    if bad:
        return f"{DISHONEST}: {shown(bad[0][0])} passed once and then {shown(bad[0][1], 200)}", seen
    if len(seen.parts) < wanted.parts:
        return f"{DISHONEST}: {_fewer(wanted, seen)}", seen
    if seen.reported != 0 or ((run.strict or run.hidden) and seen.result.exit != 0):
        return f"exit {seen.result.exit}: {tail(seen.result)}", seen
    return "", seen


async def _with_canary(
    bench: Bench, known: Base, tree: Base, run: TestCommand, wanted: Expected
) -> tuple[str, TestRun, Expected]:
    """Why the run does not count, empty when it does, and what was expected in the end."""
    canary = Canary.fresh()
    config = {"canary": canary.token, "good": canary.good, "bad": canary.bad, "twins": TWINS}
    async with bench.fork(tree) as sandbox:
        seen = await run_tests(bench, sandbox, run, config=config)
    seen = _by_its_options(bench, run, seen)
    if seen.result.timed_out:
        return timed_out(seen.result), seen, wanted
    if seen.reported is None:
        return _no_report(seen.result), seen, wanted
    if any("[" in test and test not in seen.tests for test in wanted.tests):
        wanted = await settled(bench, known, run, wanted)
    if why := tampered(seen, wanted.foreign, bench.trusted, bench.suspects):
        return f"{DISHONEST}: {why}", seen, wanted
    return _verdict(run, wanted, seen, canary, bench.suspects), seen, wanted


def _by_its_options(bench: Bench, run: TestCommand, seen: TestRun) -> TestRun:
    """What a run leaves out counts when the command, or the base, says so; not the patch."""
    settings = any(basename(path) == "pyproject.toml" for path in bench.suspects)
    return replace(seen, left_out=frozenset()) if settings and not run.filtered else seen


def _fewer(wanted: Expected, seen: TestRun) -> str:
    return f"{len(seen.parts)} of {wanted.parts} test processes that it starts reported"


def _no_report(result: ExecResult) -> str:
    if result.exit in {0, 1}:
        return f"{DISHONEST}: it ended with exit {result.exit} and left no report"
    return f"the tests ended with exit {result.exit} before any result: {tail(result)}"


def _verdict(
    run: TestCommand, wanted: Expected, seen: TestRun, canary: Canary, suspects: Collection[str]
) -> str:
    theirs = {i: told for i, told in seen.tests.items() if canary.token not in i}
    bad = judge(wanted, seen, suspects)
    failed = [(i, why) for i, (outcome, why) in theirs.items() if outcome == "failed"]
    wrong = dict([*bad, *failed])  # a failure's own words before "did not run"
    if wrong:
        return _told(wrong)
    if not any(outcome == "passed" for outcome, _ in theirs.values()):
        return f"no test ran and passed: {tail(seen.result)}"
    if run.hidden:
        return _hidden_verdict(wanted, seen, canary)
    if _planted(seen, canary) != canary.ends:
        return f"{DISHONEST}: {_NOT_AS_ENDED}"
    if seen.reported != 1 or (run.strict and seen.result.exit != 1):
        return (
            f"{DISHONEST}: with a failing test planted it ended with exit {seen.result.exit} "
            f"and reported {seen.reported}"
        )
    return ""


def _hidden_verdict(wanted: Expected, seen: TestRun, canary: Canary) -> str:
    """The planted failure is spared, so that all that the command does is done. How the command
    ends is asked of the second run, which has none."""
    if len(seen.parts) < wanted.parts:
        return f"{DISHONEST}: {_fewer(wanted, seen)}"
    if any(part.tests and _planted(part, canary) != canary.ends for part in seen.parts):
        return f"{DISHONEST}: {_NOT_AS_ENDED}"
    return ""


def _planted(seen: TestRun, canary: Canary) -> dict[str, str]:
    return {
        re.split("::|[.]", i)[-1]: outcome
        for i, (outcome, _) in seen.tests.items()
        if canary.token in i
    }


def _told(wrong: dict[str, str]) -> str:
    # What really failed tells more than what therefore did not run.
    test, why = min(wrong.items(), key=lambda item: (item[1] == "did not run", item[0]))
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"{shown(test)}: {_last_line(why)}{more}"


def _last_line(why: str) -> str:
    lines = [line.strip() for line in why.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line] or lines
    return shown(errors[-1] if errors else "failed", 300)


async def _plain(bench: Bench, tree: Base, command: str, name: str) -> Checked:
    script = _PLAIN.format(token=secrets.token_hex(8), command=shlex.quote(command))
    async with bench.fork(tree) as sandbox:
        await reports.clear(bench, sandbox, bench.reports)
        result = await bench.run(sandbox, script, limit=MAX_BYTES)
        told = await reports.collect(bench, sandbox, bench.reports)
    bench.note(command)
    bench.output(
        ExecResult(result.exit, b"", result.err, timed_out=result.timed_out, seconds=result.seconds)
    )
    why = _plain_verdict(result, told)
    words = why or ("" if result.out or told.cases else BY_EXIT)
    check = CheckResult(name, not why, words, result.seconds)
    return Checked(check, timed_out=result.timed_out, hits=told.hits)


def _plain_verdict(result: ExecResult, told: Told) -> str:
    if result.timed_out:
        return timed_out(result)
    try:
        cases = (*told.cases, *(read_junit(result.out) if result.out else ()))
    except ValueError as error:
        told, cases = Told(problem=str(error)), ()
    failed = [f"{shown(case.name)}: {shown(case.why)}" for case in cases if case.failed]
    if told.problem or failed:
        return shown(told.problem) or failed[0]
    if result.exit != 0:
        return f"exit {result.exit}: {tail(result)}"
    reported = bool(result.out or told.cases)
    passed = any(case.outcome == "passed" for case in cases)
    return "no test ran and passed" if reported and not passed else ""


def timed_out(result: ExecResult) -> str:
    return f"timed out after {result.seconds:.0f} s"


def tail(result: ExecResult) -> str:
    """The end of what a command said, on one line."""
    text = (result.err.strip() or result.out.strip())[-2000:].decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return shown(" | ".join(lines[-3:]) or "no output", 400)
