"""Judges a test run by what the base expects of it, and by who had a hand in it; runs nothing."""

from collections.abc import Collection

from harness.verify.patch import shown
from harness.verify.suite import Expected, Skip, TestRun
from harness.verify.tree import listed


def judge(wanted: Expected, run: TestRun, suspects: Collection[str] = ()) -> list[tuple[str, str]]:
    """Every expected test that did not pass, and why, in the report's words.

    `suspects`: files that a patch brought. From there no test may be given up, expected or not,
    except a patch's own. Where tests are expected, one must really pass.
    """
    cases: dict[str, list[str]] = {}
    for test in {*run.tests, *run.left_out} if wanted.static else ():
        cases.setdefault(test.partition("[")[0], []).append(test)
    bad: dict[str, str] = {}
    met: set[str] = set()
    for test, may_skip in wanted.tests.items():
        ran = cases.get(test, []) if test in wanted.static else [test]
        met.update(ran)
        if not any(case in run.tests or case in run.left_out for case in ran):
            bad[test] = "did not run"
        faults = {c: _fault(run, c, suspects, may_skip=may_skip) for c in ran if c in run.tests}
        bad.update({case: why for case, why in faults.items() if why})
    others = {test for test in run.skips if test not in met and not _of(test, suspects)}
    faults = {test: _fault(run, test, suspects, may_skip=True) for test in others}
    bad.update({test: why for test, why in faults.items() if why and test in run.skips})
    if wanted.tests and not bad and not met & run.passed:
        bad[next(iter(wanted.tests))] = "neither it nor any other test that is expected passed"
    return list(bad.items())


def _fault(run: TestRun, case: str, suspects: Collection[str], *, may_skip: bool) -> str:
    outcome, why = run.tests[case]
    if outcome in {"passed", "failed"}:
        return why or "failed" if outcome == "failed" else ""
    skip = run.skips.get(case)
    if skip is None:
        return "" if may_skip else f"was {outcome}"
    return "" if skip.honest(suspects) else _skipped(skip, outcome, suspects)


def _skipped(skip: Skip, outcome: str, suspects: Collection[str]) -> str:
    by = sorted(skip.files.intersection(suspects))
    return f"was {outcome} by {shown(by[0])}, which the patch changed" if by else f"was {outcome}"


def _of(test: str, files: Collection[str]) -> bool:
    """Whether a test, by pytest's or unittest's name, stands in one of the files."""
    return any(
        test.startswith((f"{file}::", f"{file.removesuffix('.py').replace('/', '.')}."))
        for file in files
    )


def tampered(
    run: TestRun,
    allowed: Collection[str],
    trusted: Collection[str] | None,
    suspects: Collection[str] = (),
) -> str:
    """How `run` was interfered with, in words, empty when it was not.

    `allowed`: changes to the tool that a run on the base shows too, which are believed unless from
    `suspects`, files that the patch brought; `trusted` as in `Bench`.
    """
    lucky = [test for test, outcome in run.twins if outcome == "passed"]
    if lucky:
        return f"a failing twin of {shown(lucky[0])} was reported as passed"
    strange = [
        f"{what} ({file})" if file and file not in what else what
        for what, file in run.foreign.items()
        if trusted is not None and file not in trusted and (what not in allowed or file in suspects)
    ]
    return f"something of the project decides over the tests: {listed(strange)}" if strange else ""
