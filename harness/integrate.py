"""The merge queue: one winner at a time is rebased on the branch, verified as a tree and merged.

The branch only ever moves to a commit whose tree was verified here. A feature whose trailers
are already on the branch is done, which is how a merge interrupted by a crash is recognised.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from harness.git import Repository
from harness.record.journal import Journal
from orchestrator import events
from orchestrator.errors import MachineError, MergeRefusedError, PatchRejectedError, SandboxError
from orchestrator.values import AttemptKey, Feature, Verification

#: How often a merge is tried again because somebody else moved the branch meanwhile.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Winner:
    """What is to be merged: the patch of one attempt against the commit `base`. `verified`:
    it passed everything there, so that the same files need not be verified again."""

    key: AttemptKey
    feature: Feature
    patch: bytes
    base: str
    verified: bool = True


#: Verifies the tree of a commit that would become the branch's head: (winner, commit, parent).
TreeCheck = Callable[[Winner, str, str], Awaitable[Verification]]


class Integrator:
    """Serial per repository: the lock holds within the process, compare-and-set across them."""

    def __init__(self, repository: Repository, branch: str, journal: Journal, run: str) -> None:
        self._repository = repository
        self._branch = branch
        self._journal = journal
        self._run = run
        self._turn = asyncio.Lock()

    async def merge(self, winner: Winner, check: TreeCheck) -> str:
        """The commit on the branch. Raises `MergeRefusedError` with the reason in words; the
        branch is then as it was."""
        async with self._turn:
            for _ in range(_TRIES):
                commit = await self._merge_once(winner, check)
                if commit is not None:
                    return commit
        raise MergeRefusedError(
            f"branch {self._branch} was moved by somebody else {_TRIES} times during the merge"
        )

    async def _merge_once(self, winner: Winner, check: TreeCheck) -> str | None:
        names = {"feature": winner.feature.id, "attempt": winner.key.name}
        head = await self._repository.head_name(self._branch)
        if head is None:
            raise MachineError(
                f"branch {self._branch} of {self._repository.path} was deleted during the run; "
                "create it again where it was, then give the same command"
            )
        integrated = await self._repository.integrated(head)
        done = integrated.get(winner.feature.id)
        if done is not None:
            self._journal.write(events.MergeFinished(commit=done, **names))
            return done
        self._require(winner, integrated)
        self._journal.write(events.MergeStarted(onto=head, **names))
        try:
            tree = await self._repository.tree_with(head, winner.patch)
            commit = await self._repository.commit_tree(tree, head, self._message(winner))
            await self._verify(winner, commit, head, check)
        except (MergeRefusedError, PatchRejectedError, SandboxError) as error:
            # A sandbox that fails here may do so by what the winner changed: its setup, say.
            self._journal.write(events.MergeRejected(onto=head, reason=str(error), **names))
            raise MergeRefusedError(str(error)) from error
        await self._require_free()
        self._journal.require()
        if not await self._repository.move_branch(self._branch, commit, head):
            return None
        self._journal.write(events.MergeFinished(commit=commit, **names))
        return commit

    async def _require_free(self) -> None:
        """Files of whoever has the branch checked out would all look changed if it moved."""
        where = await self._repository.checked_out_at(self._branch)
        if where is not None:
            raise MachineError(
                f"branch {self._branch} was checked out at {where} during the run; it belongs to "
                f"FibreFlow: `git -C {where} switch --detach`, then give the same command"
            )

    def _require(self, winner: Winner, integrated: Mapping[str, str]) -> None:
        """What a feature was built on must still be there when it is merged."""
        lost = [need for need in winner.feature.depends_on if need not in integrated]
        if lost:
            raise MachineError(
                f"{', '.join(lost)} is not on branch {self._branch} of {self._repository.path} any "
                f"more: somebody moved it. Put it back (`git reflog {self._branch}` shows where "
                "it was), then give the same command"
            )

    async def _verify(self, winner: Winner, commit: str, head: str, check: TreeCheck) -> None:
        try:
            verification = await check(winner, commit, head)
        except SandboxError:
            # The winner was paid for: a sandbox that fails by chance must not cost it its place.
            verification = await check(winner, commit, head)
        failed = [c.name for c in verification.acceptance if not c.passed]
        if verification.usable and not failed:
            return
        why = "; ".join(verification.problems[:4]) or f"fails {', '.join(failed[:4])}"
        raise MergeRefusedError(f"green alone, red on the branch at {head[:10]}: {why}")

    def _message(self, winner: Winner) -> str:
        title = " ".join(winner.feature.description.split())[:68] or winner.feature.id
        return f"{title}\n\nFeature: {winner.feature.id}\nAttempt: {winner.key}\nRun: {self._run}\n"
