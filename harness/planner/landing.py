"""Puts a plan where runs find it: acceptance tests on the branch, features into the list."""

import json
import tempfile
from collections.abc import Iterable

from harness import inputs
from harness.git import Repository
from harness.inputs import Target
from harness.planner.goals import Ground
from harness.record import files
from orchestrator.errors import InputError
from orchestrator.features.file import parse
from orchestrator.planner import course as planning
from orchestrator.planner.course import Planned


async def land(ground: Ground, made: Planned, papers: Iterable[tuple[str, str]], run: str) -> str:
    """The commit that has the tests; `papers` are further files for it. Looks at the world first:
    what is there is not done again. Raises `InputError` when the list would be none."""
    text = listed(ground, made)
    target = await inputs.settle(ground.given, ground.workspace.root, None)
    if target.checked_out is not None:
        raise InputError(
            f"branch {target.branch} is checked out at {target.checked_out}; it belongs to "
            f"FibreFlow: `git -C {target.checked_out} switch -` first, or set project.branch"
        )
    commit = await _commit(target, [*made.tests, *papers], f"Plan {made.name}\n\nPlan: {run}\n")
    if text is not None:
        files.replace(ground.features, text)
    return commit


def listed(ground: Ground, made: Planned) -> str | None:
    """The text of the list with the plan in it, None where it has it already."""
    if not ground.text:
        text = planning.feature_list(made, ground.project, ground.defaults)
    elif {f["id"] for f in made.features} <= {f.id for f in ground.given.features}:
        return None
    else:
        text = planning.extended(ground.text, made)
    parse(text, str(ground.features))
    return text


async def _commit(target: Target, paths: list[tuple[str, str]], message: str) -> str:
    repository, head = target.repository, target.head
    if all([await repository.read(head, path) == text for path, text in paths]):
        return head
    made = await repository.commit_tree(await _tree(repository, head, paths), head, message)
    if not await repository.move_branch(target.branch, made, head):
        raise InputError(f"branch {target.branch} was moved by somebody else just now; try again")
    return made


async def _tree(repository: Repository, head: str, paths: list[tuple[str, str]]) -> str:
    """The tree of `head` with these files."""
    with tempfile.TemporaryDirectory(prefix="index-") as folder:
        env = {"GIT_INDEX_FILE": f"{folder}/index"}
        await repository.git("read-tree", head, env=env)
        for path, text in paths:
            blob = await repository.git("hash-object", "-w", "--stdin", stdin=text.encode())
            entry = f"100644,{blob.strip()},{path}"
            await repository.git("update-index", "--add", "--cacheinfo", entry, env=env)
        return (await repository.git("write-tree", env=env)).strip()


def proposal(ground: Ground, made: Planned) -> str:
    """The features as a reviewer reads them."""
    rows = {"project": ground.project, "features": made.features}
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
