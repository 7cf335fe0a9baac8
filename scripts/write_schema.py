"""Writes the JSON Schema and the key tables of feature_list.json from the pydantic models.

Run it when `orchestrator/features/models.py` changes. Types, bounds and defaults come from the
models; what a key means to a person is said here, once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.features.models import (
    BareEntry,
    DefaultsEntry,
    FeatureEntry,
    GateEntry,
    ProjectEntry,
    ReportsEntry,
    SelectionEntry,
    schema,
)
from orchestrator.sla import models as slas_models

ROOT = Path(__file__).resolve().parent.parent
SLAS = ROOT / "harness" / "data_layer_slas.schema.json"
TARGET = ROOT / "harness" / "feature_list.schema.json"
DOCS = ROOT / "docs" / "feature_list.md"

_TIER = (
    "The model's size in round 1; each failed round climbs one. `--model` fixes one tier for every "
    "attempt."
)
_PASSES = "Whether the feature is on the integration branch. FibreFlow alone writes it."
_STEPS = "What to do in detail; the agent reads it, nothing checks it."

#: Title, model, and what each key means. A key without a meaning stops this program.
SECTIONS: tuple[tuple[str, type[BaseModel], Mapping[str, str]], ...] = (
    (
        "project.*",
        ProjectEntry,
        {
            "name": "A name for people.",
            "repo": "The git repository to build, relative to the workspace; `--repo` overrides.",
            "base": "Where the integration branch starts; default: what is checked out (`HEAD`).",
            "branch": "The integration branch, which winners are merged into. Never yours.",
            "setup": "Prepares a checkout (installs packages); may use the network, run once for "
            "each state of the dependencies.",
            "test": "Runs the project's own tests: what was green must stay green.",
            "protected": "Files that no attempt may change, on top of the files that acceptance "
            "commands name. Replaces the standard list (conftest.py, pytest.ini, CI files, ...).",
            "env": "Environment variables of every command. Readable by agents: no secrets.",
            "seed": "A folder whose content becomes the first commit when `repo` does not exist.",
            "recording": "A folder of recorded answers that stand in for a model, see "
            "[recordings.md](recordings.md); `--live` asks a model all the same.",
            "profile": "The limits of every sandbox of the run, see "
            "[sandboxes.md](sandboxes.md#limits).",
            "min_coverage": "The share of the executable lines it adds that an attempt's "
            "verification must run (Python, or by `reports.coverage`); an attempt below it is not "
            "usable. What cannot be measured is not held against it.",
            "workspaces": "How a sandbox has its files: `copy` where the project renames folders "
            "of its own, which an overlay refuses; `auto` finds out when `setup` does.",
            "min_mutation": "The share of small changes to the Python lines it adds that `test` "
            "(else the acceptance) must notice, of 24 drawn by lot; an attempt below it is not "
            "usable. Each costs a run of the tests.",
            "gates": "Commands that an attempt must pass beside its tests: see below.",
            "reports": "What the project's own commands leave behind, in any language: see below.",
            "selection": "How an attempt is chosen, and when a person is asked: see below and "
            "[selection.md](selection.md).",
            "deploy": "How the project is deployed: see [deploy.md](deploy.md).",
        },
    ),
    (
        "project.gates[].*",
        GateEntry,
        {
            "name": "Names the gate in reports.",
            "run": "Run on the patched tree, in a clean sandbox, of attempts that passed all else; "
            "exit 0 opens it. `$FIBREFLOW_CHANGED` names a file of the added lines "
            "(`path:first-last`). What fails on the base already is not held against a patch.",
            "at_least": "The least score, which ends the last line it prints: `0.87` or `87%`.",
            "when": "Globs; runs only where the patch touches such a file, such as `*.lock`.",
            "allow": "Hosts that it may reach, such as an index of vulnerabilities.",
        },
    ),
    (
        "project.reports.*",
        ReportsEntry,
        {
            "junit": "JUnit XML that `test` and acceptance commands write: tests are judged one "
            "by one then, not by the exit status alone. Not needed for pytest and unittest.",
            "coverage": "Cobertura XML or LCOV that they write: the share of added lines that ran. "
            "What lies there before a command runs is removed first.",
        },
    ),
    (
        "project.selection.*",
        SelectionEntry,
        {
            "weights": "The shares of `coverage`, `tests`, `quality` and `speed` in the score, "
            "which decides between attempts that are believed alike. Only the ratios count.",
            "min_consensus": "Below this agreement of the top three a person decides.",
            "min_confidence": "Below this probability that the winner is right a person decides; "
            "0 is never.",
            "on_no_consensus": "`best` takes the single best where the top three disagree, and "
            "says so. Without a trusted check a person decides all the same.",
        },
    ),
    (
        "defaults.*",
        DefaultsEntry,
        {
            "attempts": "Attempts in a round of a feature. Each is paid for.",
            "rounds": "How often a feature is tried. A further round is told why the last failed.",
            "repairs": "How often an attempt may mend what its verification found, in its own "
            "sandbox, before a new attempt is paid for; each only while it can be cheaper than "
            "one. Repairs and attempts together are never more than rounds times attempts.",
            "quorum": "A round is decided as soon as so many attempts passed everything; the rest "
            "are cancelled. 1 is cheapest, more gives the choice more to choose from. "
            "Absent: 3, or all attempts where there are fewer; fewer when the choice is sure by "
            "then, and twice as many where they disagree (docs/selection.md, Waves).",
            "timeout_minutes": "Wall time of an attempt; what it has written by then is verified.",
            "turns": "Model calls in an attempt; likewise.",
            "budget_usd": "The most that the **whole run** may cost; `--budget` overrides. "
            "Absent: no cap.",
            "agent": "Who works on the features.",
            "tier": _TIER + " Absent: haiku.",
        },
    ),
    (
        "features[].*",
        FeatureEntry,
        {
            "id": "Names the feature in `depends_on`, commits and logs.",
            "category": "For people.",
            "description": "What is wanted; the agent reads it.",
            "steps": _STEPS,
            "depends_on": "Features that must be merged before this one starts.",
            "priority": "Smaller goes first among features that could start; the critical path "
            "and dependencies come before it.",
            "acceptance": "The exam: commands run at the root of a clean checkout, exit 0 is a "
            "pass. The files they name are protected, but for one that does not exist yet and is "
            "no exam by its name or its runner: that is what the feature makes. Absent: a person "
            "decides, unless the project's own tests can.",
            "scope": "Files the attempt is asked to stay within. Leaving them is remarked, not "
            "punished; a file named letter by letter is its to write even if protected.",
            "agent": "As in defaults, for this feature.",
            "tier": "As in defaults, for this feature.",
            "attempts": "As in defaults, for this feature.",
            "budget_usd": "The most that **this feature** may cost; when it is used up, this "
            "feature ends and the others go on.",
            "timeout_minutes": "As in defaults, for each attempt at this feature.",
            "passes": _PASSES,
        },
    ),
    (
        "The bare form: an array of these, first come first served",
        BareEntry,
        {
            "category": "For people; ids are made from it.",
            "description": "What is wanted; the agent reads it.",
            "steps": _STEPS,
            "passes": _PASSES,
        },
    ),
)

_HEAD = """\
# feature_list.json, key by key

Made by `scripts/write_schema.py` from the models; the published schema is
[feature_list.schema.json](../harness/feature_list.schema.json). No other keys are let through.
At the top stand `version` (always 1), `project`, `defaults` and `features`.
"""


def rendered() -> str:
    """The published file's content: stable key order, so that a change shows as a small diff."""
    return json.dumps(schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def slas_rendered() -> str:
    """The published schema of data_layer_slas.yaml."""
    return json.dumps(slas_models.schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def documented() -> str:
    """The content of docs/feature_list.md. Raises `ValueError` for a key without a meaning, and
    for a meaning without its key."""
    return _HEAD + "".join(_section(*section) for section in SECTIONS)


def _section(title: str, model: type[BaseModel], meanings: Mapping[str, str]) -> str:
    differing = set(meanings) ^ set(model.model_fields)
    if differing:
        raise ValueError(f"SECTIONS, {title}: key or meaning missing: {sorted(differing)}")
    properties: Mapping[str, Any] = model.model_json_schema()["properties"]
    rows = [
        f"| `{key}` | {_type(facts)} | {_default(model, key)} | {meanings[key]} |"
        for key, facts in properties.items()
    ]
    head = "| key | type | default | meaning |\n|---|---|---|---|\n"
    return f"\n## {title}\n\n{head}" + "\n".join(rows) + "\n"


def _type(facts: Mapping[str, Any]) -> str:
    """The type of a property in a few words, with its bounds; null only says "may be absent"."""
    options = [o for o in facts.get("anyOf", [facts]) if o.get("type") != "null"]
    (one,) = options
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    name = str(one.get("type", "object"))
    if name == "array":
        return f"list of {one['items'].get('type', 'object')}s"
    low, high = one.get("minimum", one.get("exclusiveMinimum")), one.get("maximum")
    if low is None:
        return name
    return f"{name}, {'above ' if 'exclusiveMinimum' in one else ''}{low:.10g} to {high:.10g}"


def _default(model: type[BaseModel], key: str) -> str:
    field = model.model_fields[key]
    if field.is_required():
        return "**required**"
    value = field.default
    if isinstance(value, BaseModel):
        value = value.model_dump() if model is not ProjectEntry else {}
    return "" if value is None else f"`{json.dumps(value)}`"


def main() -> None:
    for target, content in ((TARGET, rendered()), (SLAS, slas_rendered()), (DOCS, documented())):
        target.write_text(content, encoding="utf-8")
        print(f"wrote {target.name}")


if __name__ == "__main__":
    main()
