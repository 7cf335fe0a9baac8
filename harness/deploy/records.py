"""Deployments on file: `logs/deployments/ID.json`, replaced whole after every step."""

import json
from dataclasses import asdict
from pathlib import Path

from harness.record import files
from harness.record.workspace import Workspace
from orchestrator.deploy import course
from orchestrator.deploy.course import Deployment, Taken
from orchestrator.errors import MachineError


class Records:
    """All deployments of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.logs / "deployments"

    def store(self, deployment: Deployment) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        files.replace_json(self._folder / f"{deployment.id}.json", asdict(deployment))

    def all(self) -> list[Deployment]:
        """Newest first: ids begin with a number that counts up."""
        found = sorted(self._folder.glob("*.json"), key=lambda p: p.name, reverse=True)
        return [_load(path) for path in found]

    def open(self) -> Deployment | None:
        """The one that has not come to its end; there is at most one."""
        return next((d for d in self.all() if not course.is_over(d)), None)

    def next_id(self, commit: str) -> str:
        return f"{len(self.all()) + 1:04d}-{commit[:10]}"


def _load(path: Path) -> Deployment:
    try:
        data = json.loads(path.read_bytes())
        taken = tuple(Taken(**t) for t in data["taken"])
        urls = tuple((name, url) for name, url in data["urls"])
        return Deployment(**{**data, "taken": taken, "urls": urls})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MachineError(
            f"{path}: cannot be read ({error}); move it away to deploy anew"
        ) from error
