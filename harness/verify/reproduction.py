"""Runs a patch's new tests with and without the rest of the patch, each in a clean sandbox."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.ports import Base, SandboxProvider
from harness.verify.bench import Bench
from harness.verify.commands import is_test_module
from harness.verify.facts import baseline, test_files
from harness.verify.own_tests import Ending, readable, run_own
from harness.verify.patch import shown
from harness.verify.tree import Tree, patched
from orchestrator.tickets.reproduction import Seen
from orchestrator.verify.crossing import OwnTest, new_tests, worth_running

_AUTHOR = "patch"
_MOST_TESTS = 20


@dataclass(frozen=True, slots=True)
class ReproductionJob:
    """A patch on its base. `test`: the project's test command, if it has one; `seconds` is for both
    runs together."""

    provider: SandboxProvider
    base: Base
    patch: bytes
    test: str | None
    protected: tuple[str, ...]
    log: Path
    key: str
    seconds: float = 120.0


async def reproduce(job: ReproductionJob) -> tuple[Seen, ...]:
    """Empty without new tests that pytest could run. Raises `SandboxError` when the sandbox
    itself fails; whatever the patch does is a value."""
    bench = Bench(job.provider, job.key, job.log, job.seconds, total=job.seconds)
    try:
        async with patched(bench, job.base, job.patch, job.protected) as tree:
            return () if tree.problems else await _both(bench, job, tree)
    finally:
        bench.close()


async def _both(bench: Bench, job: ReproductionJob, tree: Tree) -> tuple[Seen, ...]:
    base = job.base
    new = {path: text for path, text in readable(tree).items() if is_test_module(path)}
    tests = worth_running(_new(new, tree.before), _MOST_TESTS)
    if not tests:
        return ()
    known = await test_files(bench, base)
    texts = {_AUTHOR: new}
    foreign = (await baseline(bench, base, job.test)).foreign if job.test else frozenset[str]()

    async def run(where: Tree) -> dict[OwnTest, Ending]:
        return await run_own(
            bench, where, tests, texts, known=known, foreign=foreign, like=job.test
        )

    before, after = await asyncio.gather(run(Tree(base)), run(tree))
    return tuple(_seen(t, before.get(t), after.get(t)) for t in tests)


def _new(new: Mapping[str, str], old: Mapping[str, str]) -> list[OwnTest]:
    return [
        test
        for path, text in new.items()
        for test in new_tests(_AUTHOR, path, text, old.get(path, ""))
    ]


def _seen(test: OwnTest, before: Ending | None, after: Ending | None) -> Seen:
    return Seen(
        test=f"{test.path}::{test.name}",
        before=before.passed if before else None,
        after=after.passed if after else None,
        ran_before=before is not None and before.ran,
        why=_first(before.why) if before else "",
    )


def _first(why: str) -> str:
    """The line of a failure that says most: an error's name, or what was compared."""
    lines = [line.strip() for line in why.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return shown((errors[-1:] or lines[:1] or [""])[0], 300)
