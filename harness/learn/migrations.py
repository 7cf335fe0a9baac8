"""Brings older forms of `learned_patterns.json` to the present one, the roadmap's list included."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.learn.signatures import Failed, Signature, sign
from orchestrator.learning import TEXT_CHARS, TITLE_CHARS, Pattern, by_rules, clean

VERSION = 1


def migrated(path: Path, data: Any) -> list[Any]:
    """The entries of any version as entries of this one. Raises `InputError`."""
    version = 0 if isinstance(data, list) else None
    if isinstance(data, dict):
        version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise InputError(
            f"{path}: neither a list of the original format nor an object with a version; "
            "mend it, or move it away"
        )
    if version > VERSION:
        raise InputError(
            f"{path}: version {version} was written by a newer FibreFlow, which this one "
            f"(version {VERSION}) would spoil; use that one, or move the file away"
        )
    entries = data if version == 0 else data.get("patterns")
    if not isinstance(entries, list):
        raise InputError(f"{path}: `patterns` is not a list; mend it, or move the file away")
    for older in range(version, VERSION):
        entries = _STEPS[older](path, entries)
    return entries


def _from_roadmap(path: Path, entries: list[Any]) -> list[Any]:
    """Entries `{timestamp, feature_id, error_type, error_pattern, context: {agent_name, module},
    learnings: [], suggestions: []}`; several of one failure become one pattern."""
    found: dict[str, Pattern] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            pattern = _one(entry)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: entry {number} is not of the original format "
                f"({type(error).__name__}: {error}); mend it or remove it"
            ) from error
        found.setdefault(pattern.id, pattern)
    return [_as_entry(pattern) for pattern in found.values()]


def _one(entry: Mapping[str, Any]) -> Pattern:
    error, told = str(entry["error_type"] or ""), str(entry["error_pattern"] or "")
    context = entry.get("context") or {}
    line = told if told.startswith(error) or not error else f"{error}: {told}"
    signed = sign(Failed(problems=(f"exam: {line}",), commands=("exam",)))
    module = str(context.get("module") or "")
    signature = signed[0] if signed else Signature("other", message=clean(told, 200))
    if module and module != "unknown":
        signature = replace(signature, where=clean(module, 200))
    learnings = "; ".join(map(str, entry.get("learnings") or ()))
    suggestions = "; ".join(map(str, entry.get("suggestions") or ()))
    pattern = by_rules(signature)
    feature = entry.get("feature_id")
    return replace(
        pattern,
        title=clean(learnings, TITLE_CHARS) or pattern.title,
        fix=clean(suggestions or learnings, TEXT_CHARS) or pattern.fix,
        by="import",
        learned=str(entry.get("timestamp") or ""),
        features=(str(feature),) if feature is not None else (),
        files=(module,) if "/" in module or module.endswith(".py") else (),
    )


def _as_entry(pattern: Pattern) -> dict[str, Any]:
    return {
        **{n: getattr(pattern, n) for n in ("id", "title", "what", "why", "fix", "by", "learned")},
        "status": "trial",
        "status_why": "",
        "signature": asdict(pattern.signature),
        "scope": {
            "categories": [],
            "features": list(pattern.features),
            "files": list(pattern.files),
        },
        "last_useful": "",
        "evidence": {},
    }


_STEPS: Mapping[int, Callable[[Path, list[Any]], list[Any]]] = {0: _from_roadmap}
