"""Git by plumbing alone, on real repositories: patches, trailers, what is not committed."""

import subprocess
from pathlib import Path

import pytest

from harness import git
from harness.git import Repository
from orchestrator.errors import (
    GitError,
    InputError,
    MachineError,
    MergeRefusedError,
    PatchRejectedError,
)

CHANGE = b"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    seed = tmp_path / "seed"
    (seed / "sub").mkdir(parents=True)
    (seed / "a.txt").write_text("one\n")
    (seed / "sub" / "ä b.txt").write_text("text\n")
    await git.create_from(seed, tmp_path / "repo")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Repository(tmp_path / "repo", scratch)


async def test_a_repository_is_made_over_what_a_killed_process_left(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "a.txt").write_text("one\n")
    (tmp_path / ".repo.making" / "repo").mkdir(parents=True)
    (tmp_path / ".repo.making" / "repo" / "half").write_text("half")
    made = await git.create_from(seed, tmp_path / "repo")
    assert await made.files("main") == ("a.txt",)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["repo", "seed"]


async def test_a_patch_becomes_a_tree_and_leaves_no_trace(repository: Repository) -> None:
    tree = await repository.tree_with("main", CHANGE)
    assert await repository.read(tree, "a.txt") == "two\n"
    assert await repository.changed("main", tree) == ("a.txt",)
    assert await repository.tree_with("main", b"\n") != tree
    assert (repository.path / "a.txt").read_text() == "one\n"
    assert await repository.uncommitted() == ()
    assert list((repository.path.parent / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        (CHANGE.replace(b"-one", b"-three"), MergeRefusedError),
        (b"no patch at all", PatchRejectedError),
        (CHANGE.replace(b"a.txt", b"../a.txt"), PatchRejectedError),
    ],
)
async def test_what_does_not_fit_is_refused(
    repository: Repository, patch: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await repository.tree_with("main", patch)
    assert list((repository.path.parent / "scratch").iterdir()) == []


async def test_only_commits_with_all_trailers_count(repository: Repository) -> None:
    head = await repository.commit_of("main")
    assert head is not None
    whole = "Add x.\n\nFeature: x\nAttempt: x/r1-a01\nRun: r\n"
    for message in (whole, "Add y.\n\nFeature: y\nRun: r\n", "Feature: z in passing\n"):
        head = await repository.commit_tree("main^{tree}", head, message)
    assert (await repository.integrated(head)).keys() == {"x"}
    assert await repository.integrated("main") == {}


async def test_what_is_on_a_branch_is_asked_for_anew_when_it_moves(repository: Repository) -> None:
    first = await repository.commit_of("HEAD")
    assert first is not None
    await repository.create_branch("built", first)
    assert await repository.integrated("built") == await repository.integrated(first) == {}
    tree = await repository.tree_with(first, CHANGE)
    trailers = "A\n\nFeature: a\nAttempt: a/r1-a01\nRun: r\n"
    second = await repository.commit_tree(tree, first, trailers)
    assert await repository.move_branch("built", second, first)
    known = await repository.integrated(second)
    known["b"] = "not on it"  # the caller's own
    assert await repository.integrated("built") == await repository.integrated(second)
    assert await repository.integrated(second) == {"a": second}


async def test_a_branch_moves_only_from_where_it_was_seen(repository: Repository) -> None:
    main = await repository.commit_of("main")
    assert main is not None
    await repository.create_branch("autopilot", main)
    with pytest.raises(InputError):
        await repository.create_branch("autopilot", main)
    newer = await repository.commit_tree("main^{tree}", main, "newer")
    assert not await repository.move_branch("autopilot", newer, newer)
    assert await repository.move_branch("autopilot", newer, main)
    assert await repository.head_name("autopilot") == newer
    assert await repository.count("main..autopilot") == 1


async def test_uncommitted_is_what_differs_and_what_is_new(repository: Repository) -> None:
    (repository.path / "a.txt").write_text("changed\n")
    (repository.path / "sub" / "ä b.txt").unlink()
    (repository.path / "new").mkdir()
    (repository.path / "new" / "file").write_text("new\n")
    assert sorted(await repository.uncommitted()) == ["a.txt", "new/", "sub/ä b.txt"]


async def test_a_bare_repository_has_nothing_uncommitted(
    repository: Repository, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    command = ["git", "clone", "--quiet", "--bare", str(repository.path), str(bare)]
    subprocess.run(command, check=True)
    assert await Repository(bare).uncommitted() == ()


async def test_a_folder_within_a_repository_is_refused(repository: Repository) -> None:
    with pytest.raises(InputError, match="within another repository"):
        await git.open_repository(repository.path / "sub")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trailer.separators", "#"),
        ("i18n.logOutputEncoding", "UTF-16"),
        ("color.ui", "always"),
        ("log.showSignature", "true"),
    ],
)
async def test_a_merge_is_known_again_whatever_the_repository_is_set_to(
    repository: Repository, name: str, value: str
) -> None:
    await repository.git("config", name, value)
    message = "Add ä\n\nFeature: ä\nAttempt: ä/r1-a01\nRun: run-1\n"
    tree = await repository.tree_with("main", CHANGE)
    commit = await repository.commit_tree(tree, "main", message)
    assert await repository.integrated(commit) == {"ä": commit}


async def test_no_program_of_the_repositorys_settings_is_run(repository: Repository) -> None:
    ran = repository.path.parent / "ran"
    for name in ("diff.x.textconv", "diff.external", "core.pager"):
        await repository.git("config", name, f"touch {ran}; cat")
    attributes = repository.path / ".git" / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_text("*.txt diff=x\n")
    tree = await repository.tree_with("main", CHANGE)
    assert await repository.read("main", "a.txt") == "one\n"
    assert await repository.changed("main", tree) == ("a.txt",)
    assert not ran.exists()


async def test_ids_may_be_longer(tmp_path: Path) -> None:
    subprocess.run(
        ["git", "init", "-q", "--object-format=sha256", str(tmp_path / "long")], check=True
    )
    made = Repository(tmp_path / "long")
    await made.git("commit", "-q", "--allow-empty", "-m", "Begin")
    head = await made.commit_of("HEAD")
    assert head is not None and len(head) == 64
    await made.create_branch("autopilot", head)
    assert await made.head_name("autopilot") == head


async def test_a_branch_in_the_way_is_named(repository: Repository) -> None:
    head = await repository.commit_of("main")
    assert head is not None
    await repository.create_branch("autopilot/old", head)
    with pytest.raises(InputError, match=r"branch autopilot cannot be created.*autopilot/old"):
        await repository.create_branch("autopilot", head)


async def test_without_git_and_without_the_folder(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GitError, match="the folder is gone"):
        await Repository(repository.path / "gone").git("status")
    monkeypatch.setenv("PATH", str(repository.path))
    with pytest.raises(MachineError, match="git is not installed"):
        await repository.git("status")
