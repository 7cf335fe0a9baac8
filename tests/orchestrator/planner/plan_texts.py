"""A small plan that stands, as answers of the roles."""

from collections.abc import Mapping
from typing import Any

from orchestrator import registry
from orchestrator.planner import course as planning
from orchestrator.planner.course import Ground
from orchestrator.planner.documents import Document
from orchestrator.registry import Kind

EXAM = "def test_it():\n    from app import {0}\n\n    assert {0}.go()\n"


def task(id_: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id_, "category": "core", "description": f"Build {id_}.", "steps": ["Do it."],
        "depends_on": list(needs), "scope": [f"app/{id_}.py"], "stories": ["S1"], **more,
    }  # fmt: skip


STORY = {"id": "S1", "who": "a user", "wants": "it", "so_that": "it is", "criteria": ["it is so"]}
ANSWERS: Mapping[Kind, dict[str, Any]] = {
    "product_requirements": {"name": "small-plan", "summary": "A plan.", "stories": [STORY]},
    "system_design": {
        "overview": "Two modules.",
        "components": [
            {"name": n, "path": f"app/{n}.py", "purpose": "its job", "stories": ["S1"]}
            for n in ("one", "two")
        ],
    },
    "api_specification": {
        "interfaces": [
            {"component": "one", "name": "go", "signature": "go() -> bool", "behaviour": "Goes."}
        ]
    },
    "task_breakdown": {"features": [task("one"), task("two", "one")]},
    "test_plan": {
        "tests": [
            {"feature": n, "proves": "it goes", "text": EXAM.format(n)} for n in ("one", "two")
        ]
    },
}


def standing(upto: Kind | None = None, **changes: Any) -> dict[Kind, Document]:
    """Documents of the roles before `upto`, all without it; `changes` are other answers."""
    found: dict[Kind, Document] = {}
    for role in registry.ROLES:
        if role.writes == upto:
            break
        answer = changes.get(role.writes, ANSWERS[role.writes])
        content, problems = planning.read(role.writes, answer, found, Ground())
        assert not problems, problems
        parent = f"{role.parent} v1" if role.parent else ""
        found[role.writes] = Document(role.writes, 1, role.name, parent, (), content)
    return found
