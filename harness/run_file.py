"""`run.json`: what a run was begun with, kept so that it goes on with exactly that."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import inputs
from harness.cli.flags import RunOptions
from harness.inputs import Target
from harness.record import files
from harness.record.journal import read_events
from harness.record.workspace import RunInfo, Workspace
from orchestrator.errors import InputError
from orchestrator.runs import state
from orchestrator.runs.plan import FinalState
from orchestrator.values import FeatureList


@dataclass(frozen=True, slots=True)
class RunFile:
    """`done`: integrated before the run began. `held`: features that take no part in it.
    `waiting`: (attempt, run) of those held for a person."""

    digest: str
    options: dict[str, Any]
    done: list[str]
    held: dict[str, FinalState]
    waiting: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def first(cls, options: RunOptions, target: Target, now: "Standing") -> "RunFile":
        return cls(now.digest, plain(options), sorted(target.integrated), now.held, now.waiting)

    @classmethod
    def load(cls, path: Path) -> "RunFile":
        try:
            file = cls(**json.loads(path.read_bytes()))
            file.run_options()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{path}: cannot be read ({type(error).__name__}: {error}); remove the run's "
                "folder to begin a new run (what is merged stays merged)"
            ) from error
        return file

    def store(self, path: Path) -> None:
        files.replace_json(path, asdict(self))

    def run_options(self) -> RunOptions:
        """The options that the run was begun with."""
        return options_of(self.options)


_PATHS = ("workspace", "features", "repo", "record")


def options_of(kept: dict[str, Any]) -> RunOptions:
    """What `plain` made of them, read again."""
    paths = {k: Path(v) for k, v in kept.items() if k in _PATHS and v is not None}
    return RunOptions(**{**kept, **paths, "only": tuple(kept["only"])})


def plain(options: RunOptions) -> dict[str, Any]:
    """Options as JSON has them."""
    values = asdict(options)
    absolute = {k: str(Path(values[k]).resolve()) for k in _PATHS if values[k] is not None}
    return {**values, **absolute, "only": list(options.only)}


@dataclass(frozen=True, slots=True)
class Standing:
    """What earlier runs with the same inputs left to do. `held`: features that a new run leaves
    alone: not asked for by `--only`, or waiting for a person, as the last run has it, which paid
    for their attempts already; `waiting`: (attempt, run) of these. `work_is_left`: some feature
    could begin: it is not merged, not held, and behind nothing that is held."""

    digest: str
    unfinished: RunInfo | None
    held: dict[str, FinalState]
    waiting: dict[str, tuple[str, str]]
    work_is_left: bool

    @property
    def idle(self) -> bool:
        return self.unfinished is None and not self.work_is_left


def standing(
    given: FeatureList, workspace: Workspace, options: RunOptions, target: Target
) -> Standing:
    digest = inputs.digest(given, options, target.repository.path)
    rest = [f.id for f in given.features if f.id not in target.integrated]
    chosen = options.only or tuple(rest)
    # Asked for by name, a feature is tried again even though its review is open.
    asked = frozenset(options.only)
    waiting = {i: w for i, w in _waiting(workspace, digest).items() if i in rest and i not in asked}
    held: dict[str, FinalState] = dict.fromkeys(waiting, "review")
    held |= dict.fromkeys((i for i in rest if i not in chosen), "skipped")
    return Standing(
        digest=digest,
        unfinished=workspace.find_unfinished(digest),
        held=held,
        waiting=waiting,
        work_is_left=_work_is_left(given, target, held),
    )


def _work_is_left(given: FeatureList, target: Target, held: Mapping[str, FinalState]) -> bool:
    stuck = set(held)
    while more := {f.id for f in given.features if stuck & set(f.depends_on)} - stuck:
        stuck |= more
    return any(f.id not in stuck and f.id not in target.integrated for f in given.features)


def _waiting(workspace: Workspace, digest: str) -> dict[str, tuple[str, str]]:
    last = next((r for r in workspace.runs() if r.digest == digest and r.finished), None)
    if last is None:
        return {}
    features = state.fold(read_events(last.events)).features
    return {
        i: (feature.winner or "", feature.review_run or last.id)
        for i, feature in features.items()
        if feature.state == "review"
    }
