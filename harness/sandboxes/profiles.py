"""Named sets of limits, from profiles.yaml."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harness.ports import SandboxLimits
from orchestrator.errors import InputError

_FILE = Path(__file__).with_name("profiles.yaml")
_WHOLE = {"memory_mb", "processes", "open_files", "file_mb", "disk_mb", "inodes"}


def profile(name: str, file: Path = _FILE) -> SandboxLimits:
    """The limits called `name`. Raises `InputError` for an unknown name or a wrong file."""
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    try:
        document: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from error
    known = document if isinstance(document, dict) else {}
    if name not in known:
        names = ", ".join(map(str, known))
        raise InputError(f"no sandbox profile is called {name!r}; {file.name} has {names}")
    return _limits(f"{file.name}: {name}", known[name])


def of_run(name: str) -> SandboxLimits:
    """The limits called `name` for the sandboxes of a run. How long they live is not among them:
    `timeout_minutes` says when an attempt or a check has taken too long."""
    return replace(profile(name), wall_seconds=None)


def _limits(where: str, entry: Any) -> SandboxLimits:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: write one limit a line, such as memory_mb: 512")
    names = {f.name for f in fields(SandboxLimits)}
    for key, value in entry.items():
        if key not in names:
            raise InputError(f"{where}: {key!r} is not a limit; known are {', '.join(names)}")
        if not _fits(key, value):
            raise InputError(f"{where}: {key}: {value!r} is not a value that fits")
    return SandboxLimits(**{**entry, "allow": tuple(entry.get("allow") or ())})


def _fits(key: str, value: Any) -> bool:
    if key == "allow":
        return isinstance(value, list) and all(isinstance(host, str) for host in value)
    number = isinstance(value, int) if key in _WHOLE else isinstance(value, int | float)
    return number and not isinstance(value, bool) and value > 0
