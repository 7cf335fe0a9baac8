"""Writes a feature list that was read as the full form that reads as the same again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.values import FeatureList

#: Not among the keys of a feature list: only a flag sets it.
_FLAGS = ("exactly",)


def full_form(given: FeatureList) -> dict[str, Any]:
    """A JSON object that `features.file.parse` takes for `given`: its full form without what is
    absent, `exactly`, and how it is deployed."""
    project = _present(asdict(given.project))
    project.pop("deploy", None)
    weights = given.project.selection.weights
    rest = {k: v for k, v in project["selection"].items() if k not in weights}
    project["gates"] = [_present(gate) for gate in project.get("gates", [])]
    project["reports"] = _present(project["reports"])
    project["selection"] = {"weights": dict(weights), **rest}
    defaults = _present(asdict(given.defaults))
    for name in _FLAGS:
        defaults.pop(name)
    return {
        "version": 1,
        "project": project,
        "defaults": defaults,
        "features": [_present(asdict(feature)) for feature in given.features],
    }


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists; an empty text or an empty list of commands is an absent one. Protected
    globs alone may be an empty list, which says that nothing is."""
    found = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return {k: v for k, v in found.items() if v is not None and (v not in ("", []) or _told(k))}


def _told(key: str) -> bool:
    return key == "protected"
