"""What the tests of learning work with."""

from dataclasses import replace
from typing import Any

from orchestrator.learn.signatures import Signature
from orchestrator.learning import Pattern, by_rules
from orchestrator.values import Feature

FEATURE = Feature(
    "probe",
    "Read the process table of a server and name its zombies.",
    steps=("Parse each stat line.",),
    acceptance=("pytest -q",),
    scope=("vps/processes.py", "tests/test_processes.py"),
)


def pattern(name: str = "one", **changes: Any) -> Pattern:
    """A pattern whose signature is made of `name`."""
    made = by_rules(Signature("value", "ValueError", f"app:{name}", f"bad {name}"))
    return replace(made, learned="2026-01-01T00:00:00+00:00", **changes)
