"""Runs tests that attempts wrote, under names that nobody can foresee, and says how they ended."""

import secrets
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.ports import Sandbox
from harness.verify.bench import Bench
from harness.verify.commands import is_test_file, read_command, runner
from harness.verify.facts import SUITE_OPTIONS
from harness.verify.judging import tampered
from harness.verify.suite import Canary, TestRun, run_tests
from harness.verify.tree import Tree
from orchestrator.verify.crossing import OwnTest

#: Of one attempt: so many files are read. A feature seldom has more.
_MOST_FILES = 8


@dataclass(frozen=True, slots=True)
class Ending:
    """How one test ended: None when it was skipped. `ran`: False when its file could not even be
    imported. `why` is what a failure says, hostile text."""

    passed: bool | None
    ran: bool
    why: str = ""


def readable(tree: Tree) -> dict[str, str]:
    """The Python files that the patch leaves there, tests first; of many the rest is left out."""
    wanted = sorted(tree.after, key=lambda p: (not is_test_file(p), p))
    return {path: tree.after[path] for path in wanted[:_MOST_FILES]}


async def run_own(  # noqa: PLR0913 - what is run, on what, and by which rules it is believed
    bench: Bench,
    tree: Tree,
    tests: Sequence[OwnTest],
    texts: Mapping[str, Mapping[str, str]],
    *,
    known: Collection[str],
    foreign: Collection[str] = (),
    like: str | None = None,
) -> dict[OwnTest, Ending]:
    """Run the tests' files (`texts`: author -> path -> text) beside the originals on `tree`;
    empty when nothing can be believed of the run. `known`: the test files of the base; `foreign`:
    what a run on the base shows to change the tool; `like`: the project's test command, whose
    options hold here too.
    """
    async with bench.fork(tree.base) as sandbox:
        named = await _copies(sandbox, texts, tests)
        line = f"{runner(like, known)} {shlex.join(named.values())}"
        canary = Canary.fresh()
        config = {"canary": canary.token, "good": canary.good, "bad": canary.bad}
        command = read_command(line)[0]
        seen = await run_tests(bench, sandbox, command, options=SUITE_OPTIONS, config=config)
    trusted = set(known) - set(tree.touched)
    if not _honest(seen, canary) or tampered(seen, foreign, trusted, tree.touched):
        bench.note("nothing that this run reported is believed")
        return {}
    return {t: _ending(seen, f"{named[t.author, t.path]}::{t.name}") for t in tests}


async def _copies(
    sandbox: Sandbox, texts: Mapping[str, Mapping[str, str]], tests: Sequence[OwnTest]
) -> dict[tuple[str, str], str]:
    named: dict[tuple[str, str], str] = {}
    for author, path in dict.fromkeys((t.author, t.path) for t in tests):
        # A name that nobody can foresee: product code must not know whose test is running.
        copy = str(PurePosixPath(path).with_name(f"test_{secrets.token_hex(6)}.py"))
        await sandbox.upload(copy, texts[author][path].encode())
        named[author, path] = copy
    return named


def _honest(seen: TestRun, canary: Canary) -> bool:
    """It ended by itself, and reported the planted tests as they ended."""
    if seen.reported is None or seen.result.timed_out:
        return False
    planted = {i: o for i, (o, _) in seen.tests.items() if canary.token in i}
    ends = {i.rpartition("::")[2]: outcome for i, outcome in planted.items()}
    # Where no file could be imported there is nothing to plant the two beside.
    nothing = not any("::" in i for i in seen.tests)
    return nothing or ends == {canary.good: "passed", canary.bad: "failed"}


def _ending(seen: TestRun, name: str) -> Ending:
    """All cases of a parametrised test together. A test that did not run, because its file could
    not be imported, failed."""
    cases = [c for i, c in seen.tests.items() if i == name or i.startswith(f"{name}[")]
    failed = [why for outcome, why in cases if outcome == "failed"]
    if cases and all(outcome in {"skipped", "xfailed"} for outcome, _ in cases):
        return Ending(None, ran=True)
    return Ending(bool(cases) and not failed, ran=bool(cases), why=failed[0] if failed else "")
