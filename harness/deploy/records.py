"""Deployments on file: `logs/deployments/ID.json`, replaced whole after every step."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from harness.record import files
from harness.record.workspace import Workspace
from orchestrator.deploy import course
from orchestrator.deploy.course import Deployment, Taken
from orchestrator.errors import MachineError

_NUMBER = re.compile(r"(\d+)-")


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

    def next_id(self, commit: str, asked: Iterable[str] = ()) -> str:
        """One that nothing on file has had, also where a record was moved away: what was said to
        an approval of the same name in `asked` was not about this."""
        names = (*asked, *(path.name for path in self._folder.glob("*")))
        known = (found for name in names if (found := _NUMBER.match(name)))
        number = max((int(found[1]) for found in known), default=0) + 1
        return f"{number:04d}-{commit[:10]}"


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
