"""Git on the host's repository, by plumbing alone: no working tree, no hooks, no user's index.

Only the integration branch's ref is ever written. Objects are added, which git collects by
itself when nothing refers to them. The git directory of a sandbox is never touched from here.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.errors import (
    GitError,
    InputError,
    MachineError,
    MergeRefusedError,
    PatchRejectedError,
)

_IDENTITY = {
    "GIT_AUTHOR_NAME": "FibreFlow",
    "GIT_AUTHOR_EMAIL": "fibreflow@localhost",
    "GIT_COMMITTER_NAME": "FibreFlow",
    "GIT_COMMITTER_EMAIL": "fibreflow@localhost",
}
#: Hooks and the file system monitor would run programs that the repository names; the rest
#: changes how trailers are written or read, so that a merge would not be known again.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "trailer.separators=:",
    "i18n.logOutputEncoding=UTF-8",
    "i18n.commitEncoding=UTF-8",
    "log.showSignature=false",
    "commit.gpgSign=false",
    "color.ui=false",
)
_SAFE = tuple(word for setting in _SETTINGS for word in ("-c", setting))
_TRAILERS = ("Feature", "Attempt", "Run")
#: The id of a commit, which names the same history for ever.
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for git: the caller's own, without what redirects git elsewhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "LC_ALL": "C",
        **_IDENTITY,
        **(extra or {}),
    }


class Repository:
    """One git repository on the host. Every method raises `GitError` when git itself fails.

    `scratch`: a folder for temporary indexes, which its owner clears of what a killed process
    left there; by default the system's.
    """

    def __init__(self, path: Path, scratch: Path | None = None) -> None:
        self.path = path
        self._scratch = scratch
        self._integrated: dict[str, dict[str, str]] = {}

    async def git(
        self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Standard output of one git command."""
        code, out, err = await self._run(args, stdin, env)
        if code != 0:
            raise GitError(f"git {' '.join(args[:3])} in {self.path} failed: {err.strip()[-800:]}")
        return out

    async def _run(
        self, args: Sequence[str], stdin: bytes | None, env: Mapping[str, str] | None
    ) -> tuple[int, str, str]:
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *_SAFE,
                *args,
                cwd=self.path,
                env=environment(env),
                stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            if not await asyncio.to_thread(self.path.is_dir):
                raise GitError(f"repository {self.path}: the folder is gone") from error
            raise MachineError("git is not installed, or not on the PATH; install it") from error
        out, err = await process.communicate(stdin)
        return process.returncode or 0, out.decode("utf-8", "replace"), err.decode(errors="replace")

    async def commit_of(self, revision: str) -> str | None:
        """The full id of a commit, None when the revision names none."""
        code, out, _ = await self._run(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"],
            None,
            None,
        )
        return out.strip() if code == 0 else None

    async def head_name(self, branch: str) -> str | None:
        return await self.commit_of(f"refs/heads/{branch}")

    async def files(self, commit: str) -> tuple[str, ...]:
        """Every path in the commit, relative to the root."""
        out = await self.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
        return tuple(p for p in out.split("\0") if p)

    async def read(self, commit: str, path: str) -> str | None:
        """A file's text at a commit, None when it is not there."""
        code, out, _ = await self._run(["cat-file", "blob", f"{commit}:{path}"], None, None)
        return out if code == 0 else None

    async def integrated(self, revision: str) -> dict[str, str]:
        """Feature id -> newest commit that carries all our trailers for it, reachable from
        `revision`. Commits without all three trailers were not written by an integration.

        Git is asked once for each commit: every attempt and every verification wants to know.
        """
        if (known := self._integrated.get(revision)) is not None:
            return dict(known)
        layout = "%H" + "".join(
            f"%x1f%(trailers:key={k},valueonly,separator=%x1e)" for k in _TRAILERS
        )
        out = await self.git("log", f"--format={layout}", revision, "--")
        found: dict[str, str] = {}
        for line in out.splitlines():
            commit, *values = line.split("\x1f")
            if len(values) == len(_TRAILERS) and all(v.strip() for v in values):
                found.setdefault(values[0].strip(), commit)
        if _COMMIT.fullmatch(revision):
            self._integrated[revision] = found
        return dict(found)

    async def is_ancestor(self, older: str, newer: str) -> bool:
        code, _, _ = await self._run(["merge-base", "--is-ancestor", older, newer], None, None)
        return code == 0

    async def count(self, span: str) -> int:
        """Commits in a span such as `a..b`."""
        return int(await self.git("rev-list", "--count", span, "--"))

    async def create_branch(self, branch: str, commit: str) -> None:
        """Creates the branch; it must not exist. Raises `InputError` where git cannot have it."""
        try:
            await self.git("update-ref", f"refs/heads/{branch}", commit, "")
        except GitError as error:
            raise InputError(
                f"branch {branch} cannot be created in {self.path}; give another name in "
                f"project.branch, or remove what is in its way ({error})"
            ) from error

    async def move_branch(self, branch: str, commit: str, expected: str) -> bool:
        """Compare-and-set; False when the branch is not at `expected` any more."""
        code, _, err = await self._run(
            ["update-ref", f"refs/heads/{branch}", commit, expected], None, None
        )
        if code == 0:
            return True
        if await self.head_name(branch) != expected:
            return False
        raise GitError(f"cannot move branch {branch} in {self.path}: {err.strip()[-400:]}")

    async def uncommitted(self) -> tuple[str, ...]:
        """Paths that the working tree has otherwise than its last commit, new ones too (a folder
        that is new as a whole ends in a slash); empty without a working tree."""
        arguments = ["--no-optional-locks", "status", "--porcelain=v1", "-z", "--no-renames"]
        code, out, _ = await self._run(arguments, None, None)
        return tuple(entry[3:] for entry in out.split("\0") if entry) if code == 0 else ()

    async def checked_out_at(self, branch: str) -> str | None:
        """The working tree that has the branch checked out, if any."""
        out = await self.git("worktree", "list", "--porcelain")
        for block in out.split("\n\n"):
            lines = block.splitlines()
            if f"branch refs/heads/{branch}" in lines:
                return lines[0].removeprefix("worktree ")
        return None

    async def tree_with(self, commit: str, patch: bytes) -> str:
        """The tree of `commit` with the patch applied, merging three ways where it must.

        Raises `MergeRefusedError` on a conflict, `PatchRejectedError` when the patch is not one.
        """
        with tempfile.TemporaryDirectory(prefix="index-", dir=self._scratch) as folder:
            env = {"GIT_INDEX_FILE": f"{folder}/index"}
            await self.git("read-tree", commit, env=env)
            if patch.strip():
                code, _, err = await self._run(
                    ["apply", "--cached", "--3way", "--whitespace=nowarn", "-"], patch, env
                )
                if code != 0:
                    raise _refusal(err)
            return (await self.git("write-tree", env=env)).strip()

    async def changed(self, commit: str, tree: str) -> tuple[str, ...]:
        """Paths whose content, mode or existence differs between a commit and a tree."""
        names = ("--name-only", "--no-renames", "-z")
        out = await self.git("diff-tree", "-r", *names, commit, tree, "--")
        return tuple(p for p in out.split("\0") if p)

    async def commit_tree(self, tree: str, parent: str | None, message: str) -> str:
        parents = ["-p", parent] if parent else []
        return (
            await self.git("commit-tree", tree, *parents, "-F", "-", stdin=message.encode())
        ).strip()


def _refusal(stderr: str) -> MergeRefusedError | PatchRejectedError:
    conflicts = re.findall(r"^U (.+)$", stderr, re.MULTILINE) or re.findall(
        r"^error: patch failed: (.+):\d+$", stderr, re.MULTILINE
    )
    if conflicts or "with conflicts" in stderr or "does not match index" in stderr:
        where = ", ".join(sorted(set(conflicts))[:8]) or "see the log"
        return MergeRefusedError(f"conflicts with the branch in {where}")
    return PatchRejectedError(f"the patch does not apply: {stderr.strip()[-400:]}")


async def open_repository(path: Path) -> Repository:
    """Raises `InputError` when the path holds no usable git repository."""
    try:
        found = path.is_dir()
    except OSError as error:  # a name that no file system has, a folder that may not be entered
        raise InputError(f"repository {path}: {error.strerror}") from error
    if not found:
        what = "not a folder" if path.exists() else "there is no such folder"
        raise InputError(
            f"repository {path}: {what}; give the path of one with --repo or project.repo"
        )
    repository = Repository(path)
    try:
        below = (await repository.git("rev-parse", "--show-prefix")).strip()
    except GitError as error:
        hint = "run `git init` and commit there first, or give another path"
        if "dubious ownership" in str(error):
            hint = f"git refuses it: `git config --global --add safe.directory {path}`"
        raise InputError(f"repository {path}: git knows none there; {hint}") from error
    if below:
        raise InputError(
            f"repository {path}: a folder within another repository; give that repository's root, "
            "or run `git init` and commit in the folder"
        )
    return repository


async def create_from(seed: Path, path: Path) -> Repository:
    """A new repository whose first commit, on `main`, holds the files of `seed`.

    Built beside `path` and renamed into place, so that a crash leaves no half of it.
    """
    if not seed.is_dir():
        raise InputError(f"project.seed {seed}: there is no such folder")
    making = path.parent / f".{path.name}.making"
    # What a killed process left; nobody else makes this repository (see `Workspace.lock`).
    await asyncio.to_thread(shutil.rmtree, making, ignore_errors=True)
    try:
        fresh = making / "repo"
        fresh.mkdir(parents=True)
        repository = Repository(fresh)
        await repository.git("init", "--quiet", "--initial-branch=main", "--template=")
        await repository.git("--work-tree", str(seed.resolve()), "add", "--all", "--force", ".")
        await repository.git("commit", "--quiet", "--no-verify", "-m", f"Start from {seed.name}")
        await repository.git("reset", "--quiet", "--hard")
        fresh.rename(path)
    finally:
        await asyncio.to_thread(shutil.rmtree, making, ignore_errors=True)
    return Repository(path)
