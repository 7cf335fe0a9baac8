"""What verification needs to know about a base before any patch: its tests, and which pass."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.ports import Base, Sandbox
from harness.record import files
from harness.verify import reports
from harness.verify.bench import Bench
from harness.verify.commands import (
    TestCommand,
    hidden_command,
    is_test_file,
    is_test_module,
    read_command,
)
from harness.verify.conventions import SETTINGS, named_as_tests
from harness.verify.shared import once
from harness.verify.suite import TestRun, name_of, run_tests
from orchestrator.values import Project

#: Test modules of other features may not be importable yet; the rest must still be judged.
SUITE_OPTIONS = ("--continue-on-collection-errors",)
_DETECTED = "python -m pytest -q"
_SUITE = "suite.json"
_MYPY = ("mypy.ini", ".mypy.ini")
_USES_MYPY = re.compile(r"^\[(tool\.)?mypy\b", re.MULTILINE)
_TOOLS = re.compile(r"pytest|py\.test|unittest|--doctest")


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the project's tests end on the base. `passed` and `failed` are empty when they are
    neither pytest's nor unittest's. `foreign` and `parts` as in `Expected`."""

    command: str
    exit: int
    passed: frozenset[str]
    failed: frozenset[str] = frozenset()
    timed_out: bool = False
    foreign: frozenset[str] = frozenset()
    parts: int = 0

    @property
    def run(self) -> TestCommand | None:
        """The one test run that the command is, or that it holds somewhere within."""
        found = read_command(self.command)
        if len(found) == 1:
            return found[0]
        return hidden_command(self.command) if self.parts else None

    def covers(self, command: str) -> bool:
        """Whether `command` runs tests in places whose tests are among those that passed here,
        so that watching for regressions watches over it too."""
        runs = read_command(command)
        return bool(runs) and all(
            run.strict
            and not (run.filtered or run.moves)
            and bool(run.places)
            and all(map(self._knows, run.places))
            for run in runs
        )

    def _knows(self, place: str) -> bool:
        return any(_lies_in(test, place) for test in self.passed)

    def exams_of(self, commands: Iterable[str]) -> frozenset[str]:
        """Tests that fail here in the places that these test commands name: the exams of
        features that are still to come, which tell nothing about the one at hand."""
        places = [p for c in commands for run in read_command(c) for p in run.places]
        return frozenset(t for t in self.failed if any(_lies_in(t, p) for p in places))


def _lies_in(test: str, place: str) -> bool:
    place = place.removeprefix("./").rstrip("/")
    dotted = place.removesuffix(".py").replace("/", ".")  # as unittest names its tests
    return test in {place, dotted} or test.startswith(
        (f"{place}::", f"{place}[", f"{place}/", f"{dotted}.")
    )


async def test_files(bench: Bench, base: Base) -> Mapping[str, str]:
    """The base's test files and support: path -> blob id."""
    tests: Mapping[str, str] = (await _known(bench, base))["tests"]
    return tests


async def uses_mypy(bench: Bench, base: Base) -> bool:
    """Whether the base's settings speak of it."""
    return bool((await _known(bench, base))["mypy"])


async def _known(bench: Bench, base: Base) -> dict[str, Any]:
    """What its files and settings say, read once."""

    async def find() -> dict[str, Any]:
        async with bench.fork(base) as sandbox:
            command = f"git --git-dir={sandbox.base_git} ls-tree -r -z HEAD"
            result = await bench.run(sandbox, command, limit=32_000_000)
            shown = " ".join(f"HEAD:{name}" for name in (*SETTINGS, *_MYPY))
            told = await bench.run(
                sandbox,
                f"for f in {shown}; do git --git-dir={sandbox.base_git} show $f; done 2>/dev/null",
            )
        settings = told.out.decode("utf-8", "replace")
        is_named = named_as_tests([settings])
        entries = (e.partition(b"\t") for e in result.out.split(b"\0") if b"\t" in e)
        blobs = {
            path.decode("utf-8", "surrogateescape"): facts.split(b" ")[2].decode("ascii", "replace")
            for facts, _, path in entries
        }
        tests = {p: blob for p, blob in blobs.items() if is_test_file(p) or is_named(p)}
        return {
            "tests": {p: blob for p, blob in tests.items() if p.isprintable()},
            "mypy": _USES_MYPY.search(settings) is not None,
        }

    return await once(base.folder / "files.json", find)


async def may_hide_tests(bench: Bench, base: Base, command: str) -> bool:
    """Whether pytest or unittest could run somewhere within a command: where there is nothing for
    them to run, looking for them would cost a run of the command."""
    files = await test_files(bench, base)
    return bool(_TOOLS.search(command)) or any(path.endswith(".py") for path in files)


async def _suite_command(bench: Bench, base: Base, project: Project) -> str | None:
    """The project's own tests: as configured, or pytest where Python tests are found."""
    if project.test:
        return project.test
    files = await test_files(bench, base)
    return _DETECTED if any(is_test_module(path) for path in files) else None


async def project_baseline(bench: Bench, base: Base, project: Project) -> Baseline | None:
    """How the project's own tests end on the base; None where it has none."""
    command = await _suite_command(bench, base, project)
    return await baseline(bench, base, command) if command else None


async def baseline(bench: Bench, base: Base, command: str) -> Baseline:
    """Run the project's tests on the base itself; once per base."""

    async def find() -> dict[str, Any]:
        if len(read_command(command)) == 1 or await may_hide_tests(bench, base, command):
            async with bench.fork(base) as sandbox:
                run = await run_suite(bench, sandbox, command)
            if run.reported is not None or len(read_command(command)) == 1:
                return _facts(run)
        # None of ours ran within; where one was sent, perhaps it only stood in the way.
        async with bench.fork(base) as sandbox:
            return _facts(await run_plain(bench, sandbox, command))

    data = await once(_suite_file(base, command), find)
    return Baseline(
        command,
        int(data["exit"]),
        frozenset(data["passed"]),
        frozenset(data["failed"]),
        timed_out=bool(data["timed_out"]),
        foreign=frozenset(data["foreign"]),
        parts=int(data["parts"]),
    )


async def remember(base: Base, command: str, run: TestRun, left_out: Collection[str]) -> None:
    """Keep a run of the project's tests on `base` itself as its baseline: a merged tree that
    was just verified is the next features' base. `left_out` failed before and were not run."""

    async def known() -> dict[str, Any]:
        return _facts(run, left_out)

    await once(_suite_file(base, command), known)


def forget(base: Base, command: str) -> None:
    """Let the next `baseline` look anew: what was found is about this machine, not the base."""
    _suite_file(base, command).unlink(missing_ok=True)


def leave(folder: Path, run: TestRun, left_out: Collection[str]) -> None:
    """Keep in an attempt's folder how the project's tests ended on its files, for `adopt`."""
    files.replace_json(folder / _SUITE, _facts(run, left_out))


async def adopt(base: Base, command: str, folder: Path) -> None:
    """What `leave` kept becomes the baseline of `base`, whose files are the same."""

    async def known() -> dict[str, Any]:
        data: dict[str, Any] = json.loads((folder / _SUITE).read_bytes())
        return data

    if (folder / _SUITE).exists():
        await once(_suite_file(base, command), known)


def _suite_file(base: Base, command: str) -> Path:
    return base.folder / f"suite-{name_of(command)}.json"


async def run_suite(
    bench: Bench, sandbox: Sandbox, command: str, config: Mapping[str, Any] | None = None
) -> TestRun:
    """One run of the project's tests; without a report where no tool that we know ran."""
    found = read_command(command)
    run = found[0] if len(found) == 1 else hidden_command(command)
    return await run_tests(bench, sandbox, run, options=SUITE_OPTIONS, config=config)


async def run_plain(bench: Bench, sandbox: Sandbox, command: str) -> TestRun:
    """One run of which the exit status is all that is learned, and what the project's own reports
    say."""
    bench.note(command)
    await reports.clear(bench, sandbox, bench.reports)
    result = await bench.run(sandbox, command)
    bench.output(result)
    told = await reports.collect(bench, sandbox, bench.reports)
    tests = {case.name: (case.outcome, case.why) for case in told.cases}
    tests |= {case.name: (case.outcome, case.why) for case in told.cases if case.failed}
    return TestRun(result, tests=tests, hits=told.hits)


def _facts(run: TestRun, left_out: Collection[str] = ()) -> dict[str, Any]:
    # What was left out would have failed, and then pytest would have said 1.
    left_out_exit = 1 if left_out and run.result.exit == 0 else run.result.exit
    return {
        "exit": left_out_exit,
        "timed_out": run.result.timed_out,
        "passed": sorted(run.passed),
        "failed": sorted(run.failed | set(left_out)),
        "foreign": sorted(run.foreign),
        "parts": len(run.parts),
    }
