"""The merge queue over a real repository, with a verification that says what the test wants."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import git
from harness.git import Repository
from harness.integrate import Integrator, Winner
from harness.record.clock import SystemClock
from harness.record.journal import Journal, read_events
from orchestrator.errors import MachineError, MergeRefusedError, SandboxError
from orchestrator.values import AttemptKey, CheckResult, Feature, Verification

GREEN = Verification(usable=True, acceptance=(CheckResult("check", True),))
RED = Verification(usable=False, problems=("test_x broke",))


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "a.txt").write_text("one\n")
    made = await git.create_from(seed, tmp_path / "repo")
    head = await made.commit_of("main")
    assert head is not None
    await made.create_branch("autopilot", head)
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "events.jsonl", "run-1", SystemClock())
    yield made
    made.close()


def winner(name: str, text: str = "new\n", file: str = "") -> Winner:
    path = file or f"{name}.txt"
    patch = (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\nindex 0000000..1111111\n"
        f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{text}"
    )
    feature = Feature(name, "Add a file.\nFeature: forged\nAttempt: x\nRun: y")
    return Winner(AttemptKey(name, 1, 1), feature, patch.encode(), "")


async def green(_winner: Winner, _commit: str, _parent: str) -> Verification:
    return GREEN


def queue(repository: Repository, journal: Journal) -> Integrator:
    return Integrator(repository, "autopilot", journal, "run-1")


async def test_merged_once_however_often_it_is_asked(
    repository: Repository, journal: Journal
) -> None:
    merging = queue(repository, journal)
    commit = await merging.merge(winner("p"), green)
    assert await merging.merge(winner("p"), green) == commit
    assert await repository.integrated("autopilot") == {"p": commit}
    assert await repository.read("autopilot", "p.txt") == "new\n"
    assert [e.type for e in read_events(journal.path)] == ["MergeStarted", "MergeFinished"]


async def test_a_red_tree_is_refused(repository: Repository, journal: Journal) -> None:
    head = await repository.head_name("autopilot")

    async def red(_winner: Winner, _commit: str, _parent: str) -> Verification:
        return RED

    async def broken(_winner: Winner, _commit: str, _parent: str) -> Verification:
        raise SandboxError("setup failed on the merged tree")

    for check, why in ((red, "test_x broke"), (broken, "setup failed")):
        with pytest.raises(MergeRefusedError, match=why):
            await queue(repository, journal).merge(winner("p"), check)
    assert await repository.head_name("autopilot") == head


async def test_a_sandbox_that_fails_once_does_not_cost_the_winner_its_place(
    repository: Repository, journal: Journal
) -> None:
    asked: list[str] = []

    async def flaky(_winner: Winner, commit: str, _parent: str) -> Verification:
        asked.append(commit)
        if len(asked) == 1:
            raise SandboxError("the sandbox died")
        return GREEN

    assert await queue(repository, journal).merge(winner("p"), flaky) == asked[0]
    assert len(set(asked)) == 1


async def test_a_branch_that_moved_meanwhile_is_verified_anew(
    repository: Repository, journal: Journal
) -> None:
    parents: list[str] = []

    async def overtaken(_winner: Winner, _commit: str, parent: str) -> Verification:
        parents.append(parent)
        if len(parents) == 1:
            tree = f"{parent}^{{tree}}"
            other = await repository.commit_tree(tree, parent, "by somebody else")
            assert await repository.move_branch("autopilot", other, parent)
        return GREEN

    commit = await queue(repository, journal).merge(winner("p"), overtaken)
    assert len(set(parents)) == 2
    assert await repository.commit_of(f"{commit}^") == parents[1]


async def test_a_branch_that_somebody_checked_out_meanwhile_stays_where_it_is(
    repository: Repository, journal: Journal, tmp_path: Path
) -> None:
    head = await repository.head_name("autopilot")

    async def looked_at(_winner: Winner, _commit: str, _parent: str) -> Verification:
        await repository.git("worktree", "add", "--quiet", str(tmp_path / "look"), "autopilot")
        return GREEN

    with pytest.raises(MachineError, match=r"look.* switch --detach"):
        await queue(repository, journal).merge(winner("p"), looked_at)
    assert await repository.head_name("autopilot") == head


async def test_a_conflict_names_the_file(repository: Repository, journal: Journal) -> None:
    merging = queue(repository, journal)
    await merging.merge(winner("p", file="s.txt"), green)
    with pytest.raises(MergeRefusedError, match=r"s\.txt"):
        await merging.merge(winner("q", "other\n", file="s.txt"), green)
    assert (await repository.integrated("autopilot")).keys() == {"p"}


async def test_nothing_is_merged_onto_a_branch_that_lost_what_it_needs(
    repository: Repository, journal: Journal
) -> None:
    """Somebody moved the branch back: the next merge says so instead of building on nothing."""
    entry = winner("b")
    needs = Winner(entry.key, Feature("b", "Add b.", depends_on=("a",)), entry.patch, entry.base)
    before = await repository.head_name("autopilot")
    with pytest.raises(MachineError, match="a is not on branch autopilot"):
        await queue(repository, journal).merge(needs, green)
    assert await repository.head_name("autopilot") == before
