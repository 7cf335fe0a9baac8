"""`run.json`: what a run was begun with, kept so that it goes on with exactly that."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import inputs
from harness.flags import RunOptions
from harness.inputs import Target
from harness.record import files
from harness.record.journal import read_events
from harness.record.workspace import Workspace
from orchestrator import state
from orchestrator.errors import InputError
from orchestrator.plan import FinalState
from orchestrator.values import FeatureList


@dataclass(frozen=True, slots=True)
class RunFile:
    """`done`: integrated before the run began. `held`: features that take no part in it."""

    digest: str
    options: dict[str, Any]
    done: list[str]
    held: dict[str, FinalState]

    @classmethod
    def first(
        cls, digest: str, options: RunOptions, target: Target, held: dict[str, FinalState]
    ) -> "RunFile":
        return cls(digest, _plain(options), sorted(target.integrated), held)

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
        paths = {k: Path(v) for k, v in self.options.items() if k in _PATHS and v is not None}
        only = {"only": tuple(self.options["only"])}
        return RunOptions(**{**self.options, **paths, **only})


_PATHS = ("workspace", "features", "repo")


def _plain(options: RunOptions) -> dict[str, Any]:
    values = asdict(options)
    absolute = {k: str(Path(values[k]).resolve()) for k in _PATHS if values[k] is not None}
    return {**values, **absolute, "only": list(options.only)}


def held(
    given: FeatureList, workspace: Workspace, options: RunOptions, target: Target, digest: str
) -> dict[str, FinalState]:
    """Features that a new run leaves alone: not asked for by `--only`, or waiting for a person
    since the last run with the same inputs, which paid for their attempts already.

    Raises `InputError` when what is asked for depends on what is left out and not merged.
    """
    ids = [f.id for f in given.features if f.id not in target.integrated]
    found: dict[str, FinalState] = dict.fromkeys(_waiting(workspace, digest) & set(ids), "review")
    if options.only:
        chosen = frozenset(options.only)
        problems = inputs.unmet(given, chosen, frozenset(target.integrated))
        if problems:
            raise InputError("\n".join(problems))
        found |= dict.fromkeys((i for i in ids if i not in chosen), "skipped")
        # Asked for by name, a feature is tried again even though its review is open.
        found = {i: end for i, end in found.items() if i not in chosen}
    return found


def work_is_left(given: FeatureList, target: Target, held: Mapping[str, FinalState]) -> bool:
    """Whether any feature could begin: not merged, not held, and behind nothing that is held."""
    stuck = set(held)
    while more := {f.id for f in given.features if stuck & set(f.depends_on)} - stuck:
        stuck |= more
    return any(f.id not in stuck and f.id not in target.integrated for f in given.features)


def _waiting(workspace: Workspace, digest: str) -> set[str]:
    last = next((r for r in workspace.runs() if r.digest == digest and r.finished), None)
    if last is None:
        return set()
    features = state.fold(read_events(last.events)).features
    return {i for i, feature in features.items() if feature.state == "review"}
