"""What a run is given: the feature list with the flags laid over it, and the repository's state."""

import difflib
import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from harness import git, sandboxes
from harness.agents import programs
from harness.cli.flags import RunOptions
from harness.deploy.records import Records
from harness.git import Repository
from harness.record import files
from harness.record.workspace import Workspace
from orchestrator.deploy.rework import with_rework
from orchestrator.errors import InputError
from orchestrator.features import file as feature_lists
from orchestrator.values import Feature, FeatureList

BUILTIN = "builtin"


@dataclass(frozen=True, slots=True)
class Target:
    """The repository of a run. `head` is where the integration branch stands, `integrated`
    maps the features of the list that are on it to their commits. `behind`: how many commits
    of the base the branch lacks. `stands`: the commit that the branch is at, None without one;
    `checked_out`: the working tree that has it."""

    repository: Repository
    branch: str
    base: str
    head: str
    integrated: dict[str, str]
    files: frozenset[str]
    behind: int = 0
    stands: str | None = None
    checked_out: str | None = None


def read_features(options: RunOptions) -> FeatureList:
    """Raises `InputError` (all problems of the list at once, or the flag that does not fit)."""
    path = options.features
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(
                f"{path}: is a pipe or a device; save the list as a file, since a run writes "
                "`passes` to it"
            )
        text = feature_lists.decode(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file; give one with --features FILE (see README)"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    given = feature_lists.parse(text, str(path))
    if given.project.deploy is not None:
        # What a person has rejected is work like any other, in every run from then on.
        given = with_rework(given, Records(Workspace(options.workspace.resolve())).all())
    return with_flags(given, options)


def with_flags(given: FeatureList, options: RunOptions) -> FeatureList:
    entries = given.features
    defaults = given.defaults
    if options.attempts is not None:
        entries = tuple(replace(f, attempts=None) for f in entries)
        defaults = replace(defaults, attempts=options.attempts)
    if options.exactly:
        defaults = replace(defaults, exactly=True)
    if options.agent is not None:
        entries = tuple(replace(f, agent=None) for f in entries)
        defaults = replace(defaults, agent=options.agent)
    if options.rounds is not None:
        defaults = replace(defaults, rounds=options.rounds)
    if options.budget_usd is not None:
        defaults = replace(defaults, budget_usd=options.budget_usd)
    project = given.project
    if options.repo is not None:
        project = replace(project, repo=str(options.repo.resolve()))
    result = replace(given, features=entries, defaults=defaults, project=project)
    _check_names(result, options)
    return result


def _check_names(given: FeatureList, options: RunOptions) -> None:
    ids = [f.id for f in given.features]
    for id_ in options.only:
        if id_ not in ids:
            raise InputError(f"--only {id_}: no feature has this id{nearest(id_, ids)}")
    for name in {given.defaults.agent, *(f.agent for f in given.features if f.agent)}:
        if name == BUILTIN:
            continue
        agents = (BUILTIN, *programs.load(options.workspace))
        if name not in agents:
            raise InputError(f"agent {name!r} is not known{nearest(name, agents)}")
    if options.sandbox not in sandboxes.NAMES:
        near = nearest(options.sandbox, sandboxes.NAMES)
        raise InputError(f"--sandbox {options.sandbox}: no sandbox is called so{near}")
    sandboxes.check(options.sandbox)


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """What to say after a name that is not known: the one that was meant, else all there are."""
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known[:20])}"


def repo_path(given: FeatureList, workspace: Path) -> Path:
    return (workspace / given.project.repo).resolve()


def seed_path(given: FeatureList, workspace: Path) -> Path | None:
    return (workspace / given.project.seed).resolve() if given.project.seed else None


def recording_path(given: FeatureList, workspace: Path) -> Path | None:
    """Raises `InputError` when the list names a folder of recordings that is not there."""
    if given.project.recording is None:
        return None
    path = (workspace / given.project.recording).resolve()
    if not path.is_dir():
        raise InputError(
            f"project.recording {given.project.recording}: there is no such folder; "
            "remove the key to ask a model"
        )
    return path


async def find_target(given: FeatureList, workspace: Path) -> Target:
    """The repository and its integration branch as they are; changes nothing.

    A branch whose commits are all in the base by now, as after a merge of last night's work,
    goes on from the base. Raises `InputError` when the path is no repository, the base names no
    commit, or the branch is checked out somewhere, where moving it would surprise its owner,
    while there is work to do on it.
    """
    repository = await git.open_repository(repo_path(given, workspace))
    base = await _base_of(repository, given)
    branch = given.project.branch
    old = await repository.head_name(branch)
    head = base if old is None or await repository.is_ancestor(old, base) else old
    on_branch = await repository.integrated(head)
    ids = {f.id for f in given.features}
    where = await repository.checked_out_at(branch)
    if where is not None and not ids <= on_branch.keys():
        raise InputError(
            f"branch {branch} is checked out at {where}; it belongs to FibreFlow: "
            f"`git -C {where} switch -` first, or set project.branch"
        )
    return Target(
        repository=repository,
        branch=branch,
        base=base,
        head=head,
        integrated={k: v for k, v in on_branch.items() if k in ids},
        files=frozenset(await repository.files(head)),
        behind=await repository.count(f"{head}..{base}"),
        stands=old,
        checked_out=where,
    )


async def settle(given: FeatureList, workspace: Path, seen: Target | None) -> Target:
    """The target, with its repository and branch made, or brought forward, where they must be.

    `seen`: what `find_target` found a moment ago; looked at again when the branch moved since.
    Raises `InputError` as `find_target` does.
    """
    path, seed = repo_path(given, workspace), seed_path(given, workspace)
    if not path.exists() and seed is not None:
        await git.create_from(seed, path)
    if seen is None or await seen.repository.head_name(seen.branch) != seen.stands:
        seen = await find_target(given, workspace)
    if seen.checked_out is None:
        await _place(seen.repository, seen.branch, seen.head, seen.stands)
    return seen


async def _place(repository: Repository, branch: str, head: str, old: str | None) -> None:
    if old is None:
        await repository.create_branch(branch, head)
    elif old != head and not await repository.move_branch(branch, head, old):
        raise InputError(f"branch {branch} was moved by somebody else just now; try again")


async def _base_of(repository: Repository, given: FeatureList) -> str:
    wanted = given.project.base or "HEAD"
    commit = await repository.commit_of(wanted)
    if commit is None:
        if given.project.base:
            raise InputError(
                f"project.base {wanted!r}: {repository.path} has no such branch or commit; "
                "name one that exists, or remove the key to start from what is checked out"
            )
        raise InputError(f"repository {repository.path}: has no commit yet; commit something first")
    return commit


@dataclass(frozen=True, slots=True)
class Preview:
    """`files` of the integration branch, or of what it would be made from; `done`: merged.
    `target` None: the repository is yet to be made."""

    files: frozenset[str]
    done: frozenset[str]
    target: Target | None = None


async def preview(given: FeatureList, workspace: Path, options: RunOptions) -> Preview:
    """What a run would start from. Creates nothing, and raises `InputError` as a run would."""
    recording_path(given, workspace)
    seed = seed_path(given, workspace)
    if seed is not None and not repo_path(given, workspace).exists():
        found = Preview(seed_files(seed), frozenset())
    else:
        target = await find_target(given, workspace)
        found = Preview(target.files, frozenset(target.integrated), target)
    problems = unmet(given, frozenset(options.only), found.done)
    if problems:
        raise InputError("\n".join(problems))
    return found


def seed_files(seed: Path) -> frozenset[str]:
    """What the first commit of a repository made from `seed` would hold."""
    if not seed.is_dir():
        raise InputError(
            f"project.seed {seed}: there is no such folder; remove the key to build a repository "
            "that exists"
        )
    return frozenset(str(p.relative_to(seed)) for p in seed.rglob("*") if p.is_file())


def workers(options: RunOptions, *, live: bool) -> int:
    """How many attempts work at once. A live one waits for its model nearly all the time. A
    recorded one works all the time, but two to a core fill the pauses in which its verification
    waits for a disk or a queue."""
    return options.workers or (15 if live else min(15, 2 * (os.cpu_count() or 1)))


def digest(given: FeatureList, options: RunOptions, repo: Path) -> str:
    """Names a run's inputs, so that the same command finds the run it began. The number of
    workers and the budget are left out: they may change when a run goes on."""
    free = replace(given, defaults=replace(given.defaults, budget_usd=None))
    parts = [
        feature_lists.digest(free),
        str(repo),
        sorted(options.only),
        options.tier,
        options.live,
        options.sandbox,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def check_slas(workspace: Path) -> None:
    """Raises `SlaFileError` when the workspace promises data in words that cannot be read."""
    from harness.sla import monitor  # noqa: PLC0415

    path = workspace / monitor.FILE_NAME
    if path.exists():
        monitor.read(path)


def write_passes(path: Path, given: FeatureList, integrated: Collection[str]) -> None:
    """Sets `passes` in the user's file to what is on the branch and changes nothing else;
    atomic, and nothing at all when the file says so already."""
    old = path.read_bytes()
    passes = {f.id: f.id in integrated for f in given.features}
    new = feature_lists.with_passes(old.decode("utf-8"), passes).encode("utf-8")
    if new != old:
        files.replace(path, new)


def unmet(given: FeatureList, chosen: frozenset[str], integrated: frozenset[str]) -> list[str]:
    """Dependencies that `--only` leaves out and the branch does not have, as problems."""
    by_id: dict[str, Feature] = {f.id: f for f in given.features}
    return [
        f"--only {id_}: it depends on {need}, which is not merged; add --only {need}"
        for id_ in sorted(chosen)
        for need in by_id[id_].depends_on
        if need not in chosen and need not in integrated
    ]
