"""Roles follow each other, bad documents go back, and what comes out is an ordinary list."""

import json
import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import registry
from orchestrator.features.file import parse
from orchestrator.planner import course as planning
from orchestrator.planner.course import CHECKS, Ground, Stuck, Turn, next_turn
from orchestrator.planner.documents import Comment, Document
from orchestrator.verify.acceptance import STANDARD, matches, may_meet, protected_globs
from tests.orchestrator.planner.plan_texts import ANSWERS, STORY, standing, task


def back(document: Document, by: str = CHECKS) -> Document:
    return replace(document, comments=(Comment(by, "mend it"),))


def turn(documents: list[Document]) -> Turn:
    found = next_turn(documents)
    assert isinstance(found, Turn)
    return found


def test_each_role_writes_in_its_turn() -> None:
    all_ = list(standing().values())
    for place, role in enumerate(registry.ROLES):
        found = turn(all_[:place])
        assert (found.role, found.version) == (role, 1)
        assert found.parent == (all_[place - 1] if place else None)
    assert next_turn(all_) is None


def test_a_document_goes_back_twice_and_no_more() -> None:
    (first, *_) = standing().values()
    versions = [replace(back(first), version=n) for n in (1, 2, 3)]
    for count in (1, 2):
        found = turn(versions[:count])
        assert (found.version, found.after) == (count + 1, tuple(versions[:count]))
    assert next_turn(versions) == Stuck(registry.ROLES[0], versions[-1])


def test_what_a_person_sends_back_is_no_failure_of_the_checks() -> None:
    (first, *_) = standing().values()
    versions = [replace(back(first, "ada"), version=n) for n in range(1, 6)]
    assert turn(versions).version == 6


def test_a_new_version_has_everything_after_it_written_anew() -> None:
    documents = list(standing().values())
    tasks = documents[3]
    again = [*documents, back(tasks, "ada")]
    again.remove(tasks)
    assert turn(again).role.name == "project_manager"
    again.append(replace(tasks, version=2))
    found = turn(again)
    assert (found.role.name, found.version, found.after) == ("qa", 2, ())
    again.append(replace(documents[4], version=2, parent="task_breakdown v2"))
    assert next_turn(again) is None


ANYWHERE = Ground()


def refused(kind: registry.Kind, answer: Any, ground: Ground = ANYWHERE, **before: Any) -> str:
    _, problems = planning.read(kind, answer, standing(kind, **before), ground)
    return "\n".join(problems)


def tasks(*features: dict[str, Any]) -> dict[str, Any]:
    return {"features": list(features)}


def exam(text: str) -> dict[str, Any]:
    first, *rest = ANSWERS["test_plan"]["tests"]
    return {"tests": [{**first, "text": text}, *rest]}


PART = ANSWERS["system_design"]["components"][0]


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        ("product_requirements", None, "dictionary"),
        ("product_requirements", {"name": "x"}, "stories: Field required"),
        ("product_requirements", {**ANSWERS["product_requirements"], "stories": [STORY, STORY]},
         'story "S1" is there twice'),
        ("system_design", {"overview": "x", "components": [{**PART, "stories": ["S9"]}]},
         'no story "S9"'),
        ("system_design", {"overview": "x", "components": [{**PART, "path": "app/*.py"}]},
         "is no single file"),
        ("system_design", {"overview": "x", "components": [{**PART, "path": "../x.py"}]},
         "climbs out"),
        ("system_design", {"overview": "x", "components": [{**PART, "path": "conftest.py"}]},
         "is protected"),
        ("system_design", {**ANSWERS["system_design"], "deploy": {"approval": "none"}},
         "deploy: no such key is foreseen"),
        ("api_specification", {"interfaces": [{"component": "three", "name": "n", "signature": "n",
                                               "behaviour": "b"}]}, 'no component "three"'),
        ("task_breakdown", tasks(task("one"), task("two", scope=["app/*.py"])),
         "features one and two can be under way at the same time"),
        ("task_breakdown", tasks(task("a", "b"), task("b", "a")), "wait in a cycle: a -> b -> a"),
        ("task_breakdown", tasks(task("a", "z")), 'no feature "z"'),
        ("task_breakdown", tasks(task("a-b"), task("a.b")), "acceptance test .* is there twice"),
        ("task_breakdown", tasks(task("old")), "the list has that id already"),
        ("task_breakdown", tasks(task("a", scope=["tests/**"])), "holds protected files"),
        ("task_breakdown", tasks(task("a", scope=["tests/acceptance/test_a.py"])), "protected"),
        ("task_breakdown", tasks(task("a", scope=["conftest.py"])), "holds protected files"),
        ("task_breakdown", tasks(task("a", scope=["/etc/passwd"])), "absolute"),
        ("task_breakdown", tasks(task("a", acceptance=["true"])), "acceptance: no such key"),
        ("task_breakdown", tasks(task("a", budget_usd=900)), "budget_usd: no such key"),
        ("test_plan", {"tests": ANSWERS["test_plan"]["tests"][:1]}, "nothing covers feature two"),
        ("test_plan", exam("def test_it(:"), "is no Python"),
        ("test_plan", exam("def helper():\n    assert True\n"), "has no test function"),
        ("test_plan", exam("def test_it():\n    print('passed')\n"), "test_it asserts nothing"),
        ("test_plan", exam("from app.one import go\ndef test_it():\n    assert go()\n"),
         "imports app/one.py, which is not built yet"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(kind: registry.Kind, answer: Any, words: str) -> None:
    ground = Ground(ids=frozenset({"old"}), protected=STANDARD)
    assert re.search(words, refused(kind, answer, ground)), words


def test_a_missing_story_and_a_test_that_is_there_are_told() -> None:
    more = {**ANSWERS["product_requirements"], "stories": [STORY, {**STORY, "id": "S2"}]}
    words = refused("system_design", ANSWERS["system_design"], product_requirements=more)
    assert "nothing covers story S2" in words
    there = Ground(files=frozenset({"tests/acceptance/test_one.py"}))
    assert "is there already" in refused("test_plan", ANSWERS["test_plan"], there)


def test_the_list_is_read_as_any_other_and_its_exams_are_protected() -> None:
    made = planning.planned(standing())
    read = parse(planning.feature_list(made, {"repo": "x"}, {"attempts": 2}), "list")
    assert [(f.id, f.depends_on) for f in read.features] == [("one", ()), ("two", ("one",))]
    assert read.features[0].acceptance == ("python -m pytest -q tests/acceptance/test_one.py",)
    files = frozenset(path for path, _ in made.tests)
    assert files <= set(protected_globs(read, read.features[0], existing_files=files))
    assert read.project.deploy is None


def test_a_planned_service_never_goes_to_production_by_itself() -> None:
    service = {"command": ["python", "-m", "app"], "health": "/health"}
    design = {**ANSWERS["system_design"], "service": service}
    made = planning.planned(standing(system_design=design))
    read = parse(planning.feature_list(made, {}, {}), "list")
    assert read.project.deploy is not None
    assert read.project.deploy.risk.at_least == "REQUIRED"
    assert (read.project.deploy.adapter, read.project.deploy.on) == ("process", "all")
    # What the owner has written stays the owner's.
    own = {**planning.deployment(service), "on": "demand"}
    read = parse(planning.feature_list(made, {"deploy": own}, {}), "list")
    assert read.project.deploy is not None and read.project.deploy.on == "demand"


def test_a_list_that_is_there_keeps_every_character() -> None:
    text = '{"version": 1,\n  "features": [\n\t{"id": "old",  "description": "x"}\n  ]\n}\n'
    longer = planning.extended(text, planning.planned(standing()))
    end = text.index("}\n  ]") + 1
    assert longer.startswith(text[:end]) and longer.endswith(text[end:])
    assert [f.id for f in parse(longer, "list").features] == ["old", "one", "two"]
    assert json.loads(longer)["version"] == 1


_NAMES = ["".join(p) for n in (1, 2) for p in product("ab", repeat=n)]
_PATHS = [*_NAMES, *(f"{x}/{y}" for x, y in product(_NAMES, repeat=2))]
_GLOB = st.lists(
    st.text(alphabet="ab*?", min_size=1, max_size=2) | st.just("**"), min_size=1, max_size=3
).map("/".join)


@given(_GLOB, _GLOB)
def test_globs_that_share_a_path_are_known_to_meet(one: str, other: str) -> None:
    shared = any(matches(path, one) and matches(path, other) for path in _PATHS)
    assert may_meet(one, other) or not shared
    assert may_meet(one, other) == may_meet(other, one)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("a/b.py", "a/c.py", False), ("a/*.py", "a/c.py", True), ("a/**", "b/**", False),
        ("./README.md", "docs/README.md", False), ("README.md", "docs/README.md", True),
        ("t/test_a_*.py", "t/test_b_*.py", False), ("a/[xy].py", "a/x.py", True),
    ],
)  # fmt: skip
def test_globs_that_share_none_do_not(one: str, other: str, meet: bool) -> None:
    assert may_meet(one, other) is meet
