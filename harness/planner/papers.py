"""A plan on file: `logs/RUN/plan.json` and its documents, which are its checkpoints."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.record import files
from harness.record.workspace import Workspace
from orchestrator.errors import InputError
from orchestrator.planner import documents
from orchestrator.planner.documents import Document

_FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for, and how far it came. `digest` names the goal and what it is planned
    for, `head` the commit. `surroundings`: what its roles are shown of the repository; `files`:
    those it has. `request`: what a person was asked last about it, empty once that is settled;
    `expired`: how many such requests nobody answered. `options`: of its run."""

    run: str
    goal: str
    digest: str
    head: str = ""
    surroundings: str = ""
    files: tuple[str, ...] = ()
    done: bool = False
    request: str = ""
    expired: int = 0
    options: dict[str, Any] = field(default_factory=dict)


def digest(*parts: object) -> str:
    """SHA-256 (hex) of what tells two plans apart."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Papers:
    """The plans of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def find(self, wanted: str) -> Plan | None:
        """The newest plan with this digest."""
        return next((p for p in self.all() if p.digest == wanted), None)

    def all(self) -> list[Plan]:
        """Newest first."""
        return [_load(p) for p in sorted(self._workspace.logs.glob(f"*/{_FILE}"), reverse=True)]

    def of_run(self, run: str) -> Plan | None:
        path = self._workspace.run_folder(run) / _FILE
        return _load(path) if path.exists() else None

    def store(self, plan: Plan) -> None:
        files.replace_json(self._workspace.run_folder(plan.run) / _FILE, asdict(plan))

    def folder(self, plan: Plan) -> Path:
        return self._workspace.run_folder(plan.run) / "documents"

    def documents(self, plan: Plan) -> tuple[Document, ...]:
        """In the order of their versions."""
        found = [_document(path) for path in self.folder(plan).glob("*.v*.json")]
        return tuple(sorted(found, key=lambda d: (d.kind, d.version)))

    def keep(self, plan: Plan, document: Document) -> None:
        """The version first, which is the checkpoint; then the newest as Markdown."""
        folder = self.folder(plan)
        name = f"{document.kind}.v{document.version}.json"
        files.replace_json(folder / name, documents.to_json(document))
        files.replace(folder / f"{document.kind}.md", documents.to_markdown(document))


def _load(path: Path) -> Plan:
    try:
        return Plan(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); remove its folder to plan anew"
        ) from error


def _document(path: Path) -> Document:
    try:
        return documents.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove it to ask anew") from error
