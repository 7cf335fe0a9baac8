"""Plays a run again from its own recording, in a copy of its repository, and compares the ends.

What the models said is played to real sandboxes, real verification and real merges. The run, its
repository and its branch are not touched; no model is asked and nothing is paid for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import app, git, inputs, lock
from harness.cli.flags import RunOptions
from harness.git import Repository
from harness.models import recording
from harness.record import files
from harness.record.journal import read_events
from harness.record.workspace import RunInfo, Workspace
from harness.run_file import RunFile
from orchestrator.errors import InputError
from orchestrator.features.form import full_form
from orchestrator.runs import recheck, state
from orchestrator.runs.recheck import PlayedRound, Replayed
from orchestrator.values import FeatureList

#: In the copy: where its repository's base is, whatever it was called.
_BASE = "replayed-base"
#: Files of the workspace that change how a run is played, not what is said in it.
_KEPT = ("routing.yaml", "agents.yaml")


@dataclass(frozen=True, slots=True)
class Copy:
    """A workspace in which a run can be played again: `features` are those that it worked on."""

    workspace: Workspace
    options: RunOptions
    features: tuple[str, ...]


async def prepare(workspace: Workspace, info: RunInfo, into: Path) -> Copy:
    """The copy, in the folder `into`, which must not exist.

    Raises `InputError` when it does, when the run has not ended or left no lock file, or when no
    model was asked in it.
    """
    if not info.finished:
        go_on = workspace.hint("resume", info.id)
        raise InputError(f"run {info.id} has not come to its end; `{go_on}` goes on with it")
    if into.exists():
        raise InputError(f"--into {into}: is there already; name a folder to be made")
    kept = lock.load(info.folder / lock.NAME)
    given = lock.given(kept, str(info.folder / lock.NAME))
    happened = read_events(info.events)
    rounds = recheck.played_rounds(happened)
    ids = tuple(recheck.begun(happened))
    source = await git.open_repository(inputs.repo_path(given, workspace.root))
    # Those that were cut short have no end to be played, and took no part in any choice.
    chosen = {f"{r.feature}/{name}" for r in rounds for name in r.among}
    if not recording.write(info.folder, into / "recordings", chosen):
        raise InputError(f"run {info.id} asked no model, so that there is nothing to play")
    await _clone(source, into / "repo", kept["commits"])
    files.replace_json(into / "feature_list.json", full_form(as_played(given, rounds)))
    for name in _KEPT:
        if (workspace.root / name).is_file():
            files.replace(into / name, (workspace.root / name).read_bytes())
    begun_with = RunFile.load(workspace.run_file(info.id)).run_options()
    return Copy(Workspace(into), _options(begun_with, into, ids), ids)


def play(copy: Copy) -> int:
    """The exit code of the run in the copy."""
    return app.start(copy.options)


def compare(info: RunInfo, copy: Copy) -> Replayed:
    """How the features ended in the copy's newest run, beside how they ended in the first."""
    before = state.fold(read_events(info.events))
    now = state.fold(read_events(copy.workspace.runs()[0].events))
    return recheck.ends_apart(before, now, copy.features)


def _options(begun_with: RunOptions, into: Path, ids: Sequence[str]) -> RunOptions:
    """As it was begun, but for where it is, and for what asks or waits for anybody."""
    return RunOptions(
        workspace=into,
        features=into / "feature_list.json",
        only=tuple(ids),
        tier=begun_with.tier,
        sandbox=begun_with.sandbox,
        exactly=True,
    )


def as_played(given: FeatureList, rounds: Sequence[PlayedRound]) -> FeatureList:
    """The list with the copy's places, and with rounds of just those attempts that were chosen
    among: a round waits for all of them, since in which order they end is not recorded."""
    most = {r.feature: 0 for r in rounds}
    for r in rounds:
        # By number, not by count: those between were cut short.
        last = max((int(name.rpartition("-a")[2]) for name in r.among), default=1)
        most[r.feature] = max(most[r.feature], last)
    return replace(
        given,
        project=replace(
            given.project,
            repo="repo",
            base=_BASE,
            seed=None,
            recording="recordings",
            deploy=None,
        ),
        defaults=replace(given.defaults, quorum=max(most.values(), default=1), budget_usd=None),
        features=tuple(
            replace(f, attempts=most.get(f.id) or f.attempts, budget_usd=None)
            for f in given.features
        ),
    )


async def _clone(source: Repository, target: Path, commits: Mapping[str, Any]) -> None:
    """The repository as it was when the run began: its base, and the branch where it stood."""
    for name in ("base", "head"):
        if await source.commit_of(commits[name]) is None:
            raise InputError(f"{source.path} does not have commit {commits[name]} any more")
    target.parent.mkdir(parents=True, exist_ok=True)
    await source.git("clone", "--quiet", "--no-checkout", str(source.path), str(target))
    copy = Repository(target)
    for branch, commit in ((_BASE, commits["base"]), (commits["branch"], commits["head"])):
        await copy.git("update-ref", f"refs/heads/{branch}", commit)
    # Nothing is checked out, so that no file can look changed or gone.
    await copy.git("symbolic-ref", "HEAD", "refs/heads/nothing")
