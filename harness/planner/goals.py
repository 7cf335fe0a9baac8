"""Where a goal is worked on: the list that is there, a goal file, or a repository alone."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import inputs
from harness.cli.flags import RunOptions
from harness.record.workspace import Workspace
from orchestrator.errors import InputError
from orchestrator.features import rules as feature_rules
from orchestrator.features.file import parse
from orchestrator.values import FeatureList

#: Goals that somebody has prepared: below the workspace, and beside this program.
_PREPARED = "examples/*/goal.json"
_ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 4_000


@dataclass(frozen=True, slots=True)
class Ground:
    """`goal`: in the words of whoever prepared it. `given`: what the list has so far, with the
    flags laid over it; `text`: the list as it stands, empty when it is yet to be written with
    `project` and `defaults`."""

    goal: str
    workspace: Workspace
    features: Path
    given: FeatureList
    text: str
    project: dict[str, Any]
    defaults: dict[str, Any]


def goal_of(options: RunOptions) -> str:
    """The goal in one line. Raises `InputError` for what cannot be one."""
    goal = " ".join(options.goal.split())
    feature_rules.name(goal)
    if len(goal) > _LONGEST:
        raise InputError(f"--autopilot: a goal has at most {_LONGEST} characters")
    if Path(goal).suffix == ".json" or (" " not in goal and Path(goal).exists()):
        raise InputError(
            f"--autopilot {goal}: this is a file, no goal; `--autopilot --features {goal}` works "
            "on a list"
        )
    return goal


def ground_of(options: RunOptions, goal: str) -> Ground:
    """The workspace's own list where there is one, unless the goal was prepared; else a new one."""
    prepared = _prepared(options.workspace, goal)
    if prepared is not None:
        path, data = prepared
        return replace(_from_file(options, path, data), goal=" ".join(data["goal"].split()))
    if options.features.is_file():
        return replace(_from_list(options), goal=goal)
    repo = str(options.repo.resolve()) if options.repo is not None else "."
    return replace(_new(options, options.workspace, {"repo": repo}, {}), goal=goal)


def _prepared(workspace: Path, goal: str) -> tuple[Path, dict[str, Any]] | None:
    """The goal file that was written for exactly this goal."""
    for folder in dict.fromkeys((workspace.resolve(), _ROOT)):
        for path in sorted(folder.glob(_PREPARED)):
            data = _read(path)
            if " ".join(str(data.get("goal", "")).split()).lower() == goal.lower():
                return path, data
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a goal file: {error}") from error
    return data if isinstance(data, dict) else {}


def _from_file(options: RunOptions, path: Path, data: dict[str, Any]) -> Ground:
    from pydantic import ValidationError  # noqa: PLC0415 - as in orchestrator.features.file

    from orchestrator.planner.models import GoalFile  # noqa: PLC0415 - imports pydantic

    try:
        GoalFile.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {error}") from error
    # A workspace that was named is the user's choice; else the file says where.
    named = options.workspace != Path()
    workspace = options.workspace if named else Path(data.get("workspace", "."))
    project = dict(data.get("project", {}))
    for key in ("seed", "recording"):
        if key in project:
            project[key] = os.path.relpath(path.parent / project[key], workspace.resolve())
    if (workspace / "feature_list.json").is_file():
        return _from_list(_moved(options, workspace))
    return _new(options, workspace, project, dict(data.get("defaults", {})))


def _moved(options: RunOptions, workspace: Path) -> RunOptions:
    return replace(options, workspace=workspace, features=workspace / "feature_list.json")


def _from_list(options: RunOptions) -> Ground:
    given = inputs.read_features(options)
    if given.form == "bare":
        raise InputError(
            f"{options.features}: a list of the bare form cannot take in a plan; wrap it: "
            '{"version": 1, "features": [...]}, or plan in another --workspace'
        )
    text = options.features.read_bytes().decode("utf-8")
    return Ground("", Workspace(options.workspace.resolve()), options.features, given, text, {}, {})


def _new(
    options: RunOptions, workspace: Path, project: dict[str, Any], defaults: dict[str, Any]
) -> Ground:
    features = workspace / "feature_list.json"
    named = options.features != options.workspace / "feature_list.json"
    features = options.features if named else features
    # Read as the list that it will be, so that what is wrong with it is said now.
    probe = {"id": "planned", "description": "planned"}
    body = {"version": 1, "project": project, "defaults": defaults, "features": [probe]}
    given = parse(json.dumps(body), str(features))
    given = inputs.with_flags(replace(given, features=()), _moved(options, workspace))
    return Ground("", Workspace(workspace.resolve()), features, given, "", project, defaults)
