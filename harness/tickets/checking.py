"""What a patch would do to its base, by git's own word, for the checks before it is handed over."""

from harness.git import Repository
from harness.verify.patch import read_patch, unsafe_path
from orchestrator.errors import GitError, MergeRefusedError, PatchRejectedError
from orchestrator.tickets.handover import Change, Terms, problems


async def checked(
    repository: Repository, base: str, patch: bytes, terms: Terms
) -> tuple[str, tuple[str, ...]]:
    """The tree of `base` with the patch, and why it may not be handed over, if so.

    Nothing is checked out and nothing of the patch runs.
    """
    text = read_patch(patch)
    names = {*text.added, *text.sources}
    found = [*text.problems, *(why for n in sorted(names) if (why := unsafe_path(n)))]
    if found or len(patch) > terms.most_bytes:
        return "", problems(Change(len(patch), (), {}, problems=tuple(found)), terms)
    try:
        tree = await repository.tree_with(base, patch)
    except (MergeRefusedError, PatchRejectedError, GitError) as error:
        why = f"it does not apply to its base: {error}"
        return "", problems(Change(len(patch), (), {}, problems=(why,)), terms)
    change = await _change(repository, base, tree, len(patch))
    return tree, problems(change, terms)


async def _change(repository: Repository, base: str, tree: str, size: int) -> Change:
    raw = await repository.git("diff", "--raw", "--no-renames", "--no-abbrev", "-z", base, tree)
    rows = raw.split("\0")
    modes = {path: row.split()[1] for row, path in zip(rows[::2], rows[1::2], strict=False)}
    numbers = await repository.git("diff", "--numstat", "--no-renames", "-z", base, tree)
    binary = tuple(row[4:] for row in numbers.split("\0") if row.startswith("-\t-\t"))
    unsafe = tuple(why for path in modes if (why := unsafe_path(path)))
    return Change(size, tuple(modes), modes, binary, unsafe)
