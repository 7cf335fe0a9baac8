"""Runs the attempts' own tests and shared probes on each other's patches, in clean sandboxes.

What is wanted is where the full passers differ, at little cost when they do not. So each first
runs the new tests of all the others in one process. Only what fails there is looked at closely:
alone (one author's tests could otherwise spoil another's), again when the outcome changed, on the
author's own patch (which must pass) and on the unchanged base (which must not). Attempts that
failed some trusted check are asked last, and only by tests that are left. An attempt's own tests
never run beside its own patch but for that one proof.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.ports import Base, SandboxProvider
from harness.verify import probing
from harness.verify.bench import Bench
from harness.verify.commands import is_test_file, is_test_module
from harness.verify.facts import project_baseline, test_files
from harness.verify.own_tests import readable, run_own
from harness.verify.tree import Tree, patched
from orchestrator.evidence import CrossTest
from orchestrator.values import Project
from orchestrator.verify.crossing import OwnTest, most_telling, new_tests, worth_running
from orchestrator.verify.probes import Probe, in_turn, of_signatures, of_tests, packages

#: At the same time, of one feature: other attempts are running beside it.
_AT_ONCE = 2
#: Fewer probes say nothing: one corner that nobody specified would outweigh the 30% of which the
#: leaders may disagree.
_FEWEST_PROBES = 4
#: Times the seconds of the whole comparison that one run of tests may take.
_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Rival:
    """One usable attempt. `full`: it passed everything, so that its tests have a say."""

    name: str
    patch: bytes
    full: bool


@dataclass(frozen=True, slots=True)
class CrossJob:
    """What to compare: at most `tests` tests and `probes` probes in `seconds` seconds."""

    provider: SandboxProvider
    base: Base
    rivals: tuple[Rival, ...]
    project: Project
    protected: tuple[str, ...]
    log: Path
    key: str
    tests: int = 60
    probes: int = 40
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Crossed:
    """What came of it. `outcomes` and `digests` are by rival, in the order of `tests` and
    `probes`; only tests that tell something are left. `ran` counts what was run at all, in
    `seconds` seconds."""

    tests: tuple[CrossTest, ...] = ()
    outcomes: Mapping[str, tuple[bool | None, ...]] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    digests: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    ran: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Field:
    """Everything that stands still while the tests run."""

    bench: Bench
    base: Base
    trees: Mapping[str, Tree]
    full: tuple[str, ...]
    texts: Mapping[str, Mapping[str, str]]
    known: frozenset[str]
    foreign: frozenset[str]
    command: str | None
    ends: float
    slots: asyncio.Semaphore

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends


async def compare(job: CrossJob) -> Crossed:
    """Raises `SandboxError` when the sandbox itself fails; whatever attempts do is a value."""
    began = time.monotonic()
    seconds, reports = job.seconds, job.project.reports
    bench = Bench(job.provider, job.key, job.log, _SHARE * seconds, total=seconds, reports=reports)
    try:
        async with contextlib.AsyncExitStack() as open_:
            trees = {}
            for rival in job.rivals:
                made = patched(bench, job.base, rival.patch, job.protected)
                tree = await open_.enter_async_context(made)
                if not tree.problems:
                    trees[rival.name] = tree
            found = await _compare(bench, job, trees)
        return replace(found, seconds=round(time.monotonic() - began, 3))
    finally:
        bench.close()


async def _compare(bench: Bench, job: CrossJob, trees: Mapping[str, Tree]) -> Crossed:
    full = [r.name for r in job.rivals if r.full and r.name in trees]
    texts = {name: readable(trees[name]) for name in full}
    old = {path: text for name in full for path, text in trees[name].before.items()}
    tests = await asyncio.to_thread(_chosen, texts, old, job.tests)
    probes = await asyncio.to_thread(probes_of, texts, old, job.probes)
    before = await project_baseline(bench, job.base, job.project)
    ground = _Field(
        bench=bench,
        base=job.base,
        trees=trees,
        full=tuple(full),
        texts=texts,
        known=frozenset(await test_files(bench, job.base)),
        foreign=before.foreign if before else frozenset(),
        command=before.command if before else None,
        ends=time.monotonic() + job.seconds,
        slots=asyncio.Semaphore(_AT_ONCE),
    )
    found, digests = await asyncio.gather(_crossed(ground, tests), _digests(ground, probes))
    kept = _common(digests, full)
    told = most_telling(found, full)
    return Crossed(
        tests=tuple(CrossTest(t.id, t.author, float(t.times)) for t in told),
        outcomes={n: tuple(found[t].get(n) for t in told) for n in trees} if told else {},
        probes=tuple(probes[i] for i in kept),
        digests={n: tuple(row[i] for i in kept) for n, row in digests.items()} if kept else {},
        ran=len(tests),
    )


def _chosen(
    texts: Mapping[str, Mapping[str, str]], old: Mapping[str, str], most: int
) -> tuple[OwnTest, ...]:
    found: list[OwnTest] = []
    for author, files in texts.items():
        for path, text in files.items():
            if is_test_module(path):
                found += new_tests(author, path, text, old.get(path, ""))
    return worth_running(found, most)


def probes_of(
    texts: Mapping[str, Mapping[str, str]], old: Mapping[str, str], most: int
) -> tuple[Probe, ...]:
    """Of each author's files by path, in turn from each author: who writes twenty test files, all
    of them on what it does well, is heard as often as who writes one."""
    product = packages(p for files in texts.values() for p in files if not is_test_file(p))
    by_author = []
    for files in texts.values():
        own: list[Sequence[Probe]] = []
        for path, text in files.items():
            if is_test_module(path):
                own.append(of_tests(text, product))
            elif not is_test_file(path):
                own.append(of_signatures(path, text, old.get(path, "")))
        by_author.append(in_turn(own, most))
    return in_turn(by_author, most)


# --------------------------------------------------------------------- tests

Outcomes = dict[OwnTest, dict[str, bool | None]]


async def _crossed(ground: _Field, tests: Sequence[OwnTest]) -> Outcomes:
    """By test, what it says of each rival. Only tests that some full passer seems to fail are
    pursued: what all of them pass cannot decide between them."""
    found: Outcomes = {test: {} for test in tests}
    if not tests or len(ground.full) < 2:
        return {}
    await asyncio.gather(*(_screen(ground, found, name) for name in ground.full))
    for test in [t for t, said in found.items() if all(p is True for p in said.values())]:
        del found[test]
    doubtful = {
        (name, test.author)
        for test, said in found.items()
        for name, passed in said.items()
        if passed is not True
    }
    await asyncio.gather(*(_closely(ground, found, pair) for pair in sorted(doubtful)))
    await asyncio.gather(*(_at_home(ground, found, a) for a in sorted({t.author for t in found})))
    others = [name for name in ground.trees if name not in ground.full]
    await asyncio.gather(*(_screen(ground, found, name) for name in others))
    return found


async def _screen(ground: _Field, found: Outcomes, name: str) -> None:
    others = [t for t in found if t.author != name]
    said = await _run(ground, ground.trees[name], others)
    for test in others:
        found[test][name] = said.get(test)


async def _closely(ground: _Field, found: Outcomes, pair: tuple[str, str]) -> None:
    """By itself; and once more where that says otherwise than before, because another author's
    tests may have spoilt it. A test whose outcome changes counts for nothing."""
    name, author = pair
    tests = [t for t in found if t.author == author]
    before = {t: found[t][name] for t in tests}
    alone = await _run(ground, ground.trees[name], tests)
    again = alone
    if any(alone.get(t) != before[t] for t in tests):
        again = await _run(ground, ground.trees[name], tests)
    for test in tests:
        if alone.get(test) != again.get(test):
            found.pop(test, None)
        elif test in found:  # not dropped while this ran
            found[test][name] = alone.get(test)


async def _at_home(ground: _Field, found: Outcomes, author: str) -> None:
    """What its author fails counts for nothing, and so does what the unchanged base passes."""
    tests = [t for t in found if t.author == author]
    own = await _run(ground, ground.trees[author], tests)
    base = await _run(ground, Tree(ground.base), tests)
    for test in tests:
        if own.get(test) is True and base.get(test) is not True:
            found[test][author] = True
        else:
            del found[test]


async def _run(ground: _Field, tree: Tree, tests: Sequence[OwnTest]) -> dict[OwnTest, bool | None]:
    """Empty when nothing can be believed of the run. A skipped test has no outcome."""
    if not tests or ground.over:
        return {}
    async with ground.slots:
        ended = await run_own(
            ground.bench,
            tree,
            tests,
            ground.texts,
            known=ground.known,
            foreign=ground.foreign,
            like=ground.command,
        )
    return {test: ending.passed for test, ending in ended.items()}


# -------------------------------------------------------------------- probes


def _common(digests: Mapping[str, Sequence[str | None]], full: Sequence[str]) -> tuple[int, ...]:
    """The probes on which full passers can be compared, unless they are too few."""
    rows = [digests[n] for n in full if n in digests]
    both = [
        i
        for i, column in enumerate(zip(*rows, strict=True))
        if len(column) - column.count(None) > 1
    ]
    return tuple(both) if len(both) >= _FEWEST_PROBES else ()


async def _digests(ground: _Field, probes: Sequence[Probe]) -> dict[str, tuple[str | None, ...]]:
    async def one(name: str, tree: Tree) -> tuple[str, tuple[str | None, ...]]:
        async with ground.slots, ground.bench.fork(tree.base) as sandbox:
            return name, await probing.digests(ground.bench, sandbox, probes)

    if not probes:
        return {}
    return dict(await asyncio.gather(*(one(n, t) for n, t in ground.trees.items())))
