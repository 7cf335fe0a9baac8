"""Says how many of the lines that a patch adds were run, in programs that tests start too.

Those are looked at for a patch that the lines seen so far would keep out, in runs of their own
that are asked for nothing else: a tracer in every program changes its pace and what it has loaded.
Programs that are given another PYTHONPATH, or told to ignore it, and those killed outright are not
seen.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.ports import Base
from harness.verify.bench import Bench
from harness.verify.commands import TestCommand, is_test_file
from harness.verify.coverage_reports import Lines, united
from harness.verify.facts import Baseline, run_suite
from harness.verify.patch import PatchText
from harness.verify.suite import run_tests


def product(text: PatchText) -> list[str]:
    """Changed Python files that are not tests."""
    return [p for p in text.added if p.endswith(".py") and p.isprintable() and not is_test_file(p)]


def share(text: PatchText, lines: Lines) -> float | None:
    """Share of the added executable lines that ran; None without any."""
    executable = covered = 0
    for path, (statements, missing) in lines.items():
        added = text.added.get(path, frozenset()) & statements
        executable += len(added)
        covered += len(added - missing)
    return covered / executable if executable else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The files to measure, and the project's tests that are not run: other features' exams."""

    paths: tuple[str, ...]
    without: frozenset[str]


@functools.cache
def _inside() -> str:
    return Path(__file__).with_name("inside_programs.py").read_text("utf-8")


async def lines_of_programs(
    bench: Bench,
    tree: Base,
    suite: Baseline | None,
    exams: Sequence[TestCommand],
    wanted: Wanted,
) -> Lines:
    """Of the project's tests and the exams, the processes of the tests themselves included."""
    bench.note("once more, for the lines that run in programs which the tests start")
    config = {"measure": list(wanted.paths), "programs": _inside()}
    lines: Lines = {}
    if suite is not None and suite.run is not None:
        async with bench.fork(tree) as sandbox:
            dropped = {**config, "drop": sorted(wanted.without)}
            run = await run_suite(bench, sandbox, suite.command, dropped)
        lines = run.lines
    for exam in exams:
        async with bench.fork(tree) as sandbox:
            run = await run_tests(bench, sandbox, exam, config=config)
        lines = united(lines, run.lines)
    return lines
