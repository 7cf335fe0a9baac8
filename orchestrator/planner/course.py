"""The course of planning: who writes next, what is wrong with what was written, and the end of it.

A fold of documents. Checks of one document's shape are in `planner.models`; here is what only
all of them together show. What comes out is an ordinary feature list.
"""

import ast
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.features.rules import shown
from orchestrator.graph import cycles, drawn
from orchestrator.planner.documents import Document
from orchestrator.registry import ROLES, SENT_BACK, Kind, Role
from orchestrator.verify.acceptance import is_protected, matches, may_meet

if TYPE_CHECKING:
    from orchestrator.planner import models

#: Where QA's files go, and how each kind of them is run.
EXAMS = "tests/acceptance"
RUNNERS: Mapping[str, tuple[str, str]] = {
    "pytest": ("test_{}.py", "python -m pytest -q {}"),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is. `after`: versions of the document that were sent back, oldest first;
    `parent`: the version to work out further, None for the first role."""

    role: Role
    version: int
    parent: Document | None
    after: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class Stuck:
    """A role's document was sent back too often."""

    role: Role
    last: Document


def newest(documents: Iterable[Document], kind: Kind) -> Document | None:
    """The newest version of a kind."""
    return max((d for d in documents if d.kind == kind), key=lambda d: d.version, default=None)


def accepted(documents: Sequence[Document]) -> dict[Kind, Document]:
    """What stands: each accepted, and worked out from what stands."""
    found: dict[Kind, Document] = {}
    for role in ROLES:
        last = newest(documents, role.writes)
        parent = found.get(role.parent) if role.parent is not None else None
        if last is None or not last.accepted or last.parent != (parent.name if parent else ""):
            break
        found[role.writes] = last
    return found


def next_turn(documents: Sequence[Document]) -> Turn | Stuck | None:
    """Who writes next; None when all documents stand."""
    standing = accepted(documents)
    role = next((r for r in ROLES if r.writes not in standing), None)
    if role is None:
        return None
    parent = standing[role.parent] if role.parent is not None else None
    own = [d for d in documents if d.kind == role.writes]
    after = tuple(d for d in own if d.parent == (parent.name if parent else ""))
    refused = [d for d in after if any(c.by == CHECKS for c in d.comments)]
    if len(refused) > SENT_BACK:
        return Stuck(role, refused[-1])
    return Turn(role, max((d.version for d in own), default=0) + 1, parent, after)


#: Who comments when it is not a person.
CHECKS = "checks"


# ------------------------------------------------------------------ what is wrong


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan is made for. `ids`: of features that the list has already. `files` of the
    repository. `protected`: globs that no feature may change."""

    ids: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    protected: tuple[str, ...] = ()


def read(
    kind: Kind, answer: object, standing: Mapping[Kind, Document], ground: Ground
) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """The content of an answer, None where it has not the shape, and all that is wrong with it."""
    from pydantic import ValidationError  # noqa: PLC0415 - 60 ms that only planning needs

    from orchestrator.planner import models as plan_models  # noqa: PLC0415 - imports pydantic

    try:
        content = plan_models.MODELS[kind].model_validate(answer)
    except ValidationError as error:
        return None, tuple(_told(detail) for detail in error.errors(include_url=False)[:20])
    checks: Mapping[Kind, Any] = {
        "product_requirements": _of_requirements,
        "system_design": _of_design,
        "api_specification": _of_interfaces,
        "task_breakdown": _of_tasks,
        "test_plan": _of_tests,
    }
    contents = {k: plan_models.MODELS[k].model_validate(d.content) for k, d in standing.items()}
    problems = tuple(checks[kind](content, contents, ground))
    return content.model_dump(mode="json"), problems


def _told(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    what = str(detail.get("ctx", {}).get("error", detail["msg"]))
    if detail["type"] == "extra_forbidden":
        what = "no such key is foreseen; leave it out"
    return f"{where}: {what}" if where else what


Contents = Mapping[Kind, Any]


def _of_requirements(own: "models.Requirements", _: Contents, __: Ground) -> Iterator[str]:
    yield from _twice("story", [story.id for story in own.stories])


def _of_design(own: "models.Design", before: Contents, ground: Ground) -> Iterator[str]:
    stories = {s.id for s in before["product_requirements"].stories}
    yield from _twice("component", [c.name for c in own.components])
    yield from _twice("path", [c.path for c in own.components])
    for part in own.components:
        yield from _unknown(f"component {part.name}", "story", part.stories, stories)
        if is_protected(part.path, ground.protected):
            yield f"component {part.name}: {shown(part.path)} is protected; take another file"
    yield from _missing("story", stories, (s for c in own.components for s in c.stories))


def _of_interfaces(own: "models.Interfaces", before: Contents, _: Ground) -> Iterator[str]:
    known = {c.name for c in before["system_design"].components}
    for one in own.interfaces:
        yield from _unknown(f"interface {one.name}", "component", [one.component], known)


def _of_tasks(own: "models.Tasks", before: Contents, ground: Ground) -> Iterator[str]:
    ids = [f.id for f in own.features]
    stories = {s.id for s in before["product_requirements"].stories}
    exams = [exam(i, "pytest") for i in ids]
    yield from _twice("acceptance test", exams)
    taken = {i.lower() for i in ground.ids}
    yield from (f"feature {i}: the list has that id already; rename it" for i in ids
                if i.lower() in taken)  # fmt: skip
    for one in own.features:
        yield from _unknown(f"feature {one.id}", "feature", one.depends_on, {*ids, *ground.ids})
        yield from _unknown(f"feature {one.id}", "story", one.stories, stories)
        for glob in one.scope:
            if is_protected(glob, ground.protected) or any(matches(e, glob) for e in exams):
                yield f"feature {one.id}: scope {shown(glob)} holds protected files; narrow it"
    yield from _missing("story", stories, (s for f in own.features for s in f.stories))
    edges = [(f.id, need) for f in own.features for need in f.depends_on if need in ids]
    knots = cycles(edges)
    yield from (f"features wait in a cycle: {drawn(knot)}; remove a dependency" for knot in knots)
    if not knots:
        yield from _overlaps(own.features)


def _overlaps(features: "Sequence[models.TaskEntry]") -> Iterator[str]:
    """Scopes that meet although neither feature waits for the other."""
    needs: dict[str, set[str]] = {}
    by_id = {f.id: f for f in features}

    def closure(id_: str) -> set[str]:
        if id_ not in needs:
            direct = [need for need in by_id[id_].depends_on if need in by_id]
            needs[id_] = set(direct).union(*(closure(need) for need in direct))
        return needs[id_]

    for at, one in enumerate(features):
        for other in features[at + 1 :]:
            if other.id in closure(one.id) or one.id in closure(other.id):
                continue
            met = next(((a, b) for a in one.scope for b in other.scope if may_meet(a, b)), None)
            if met is not None:
                yield (
                    f"features {one.id} and {other.id} can be under way at the same time, and both "
                    f"may change {shown(met[0])} and {shown(met[1])}; part their scopes, or let "
                    "one depend on the other"
                )


def _of_tests(own: "models.Tests", before: Contents, ground: Ground) -> Iterator[str]:
    ids = {f.id for f in before["task_breakdown"].features}
    tested = [t.feature for t in own.tests]
    yield from _twice("feature", tested)
    yield from _unknown("tests", "feature", tested, ids)
    yield from _missing("feature", ids, tested)
    for test in own.tests:
        path = exam(test.feature, test.runner)
        if path in ground.files:
            yield f"feature {test.feature}: {path} is there already; its id has to change"
        yield from _early(test, {c.path for c in before["system_design"].components}, ground)


def _early(test: "models.TestEntry", built: Collection[str], ground: Ground) -> Iterator[str]:
    """Imports at the top of what nobody has built yet: the project's tests could not even be
    collected until then."""
    for name in imports_of(test.text):
        stem = name.replace(".", "/")
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in built and path not in ground.files:
                yield (
                    f"feature {test.feature}: its test imports {path}, which is not built yet; "
                    "import it inside of the test functions"
                )


def imports_of(text: str) -> Iterator[str]:
    """Dotted names that a Python file imports when it is loaded."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _twice(what: str, names: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            yield f"{what} {shown(name)} is there twice; rename or join them"
        seen.add(name.lower())


def _unknown(where: str, what: str, names: Iterable[str], known: Collection[str]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{where}: there is no {what} {shown(name)}; known: {', '.join(sorted(known))}"


def _missing(what: str, all_: Iterable[str], covered: Iterable[str]) -> Iterator[str]:
    left = sorted(set(all_) - set(covered))
    if left:
        yield f"nothing covers {what} {', '.join(left)}; add it"


# ------------------------------------------------------------------ what comes out


def exam(feature: str, runner: str) -> str:
    """The path of a feature's acceptance test."""
    word = feature.lower().replace("-", "_").replace(".", "_")
    return f"{EXAMS}/{RUNNERS[runner][0].format(word)}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning came to: entries of `features`, test files (path and text), how the result is
    started where it is a service, and its short name."""

    name: str
    features: tuple[Mapping[str, Any], ...]
    tests: tuple[tuple[str, str], ...]
    service: Mapping[str, Any] | None = None


def planned(standing: Mapping[Kind, Document]) -> Planned:
    """All documents must stand."""
    content = {kind: document.content or {} for kind, document in standing.items()}
    tests = {test["feature"]: test for test in content["test_plan"]["tests"]}
    features = tuple(
        {
            "id": task["id"],
            "category": task["category"],
            "description": task["description"],
            "steps": task["steps"],
            "depends_on": task["depends_on"],
            "priority": place,
            "acceptance": [_command(tests[task["id"]])],
            "scope": task["scope"],
            "passes": False,
        }
        for place, task in enumerate(content["task_breakdown"]["features"], 1)
    )
    files = tuple((exam(test["feature"], test["runner"]), test["text"]) for test in tests.values())
    return Planned(
        name=content["product_requirements"]["name"],
        features=features,
        tests=tuple(sorted(files)),
        service=content["system_design"].get("service"),
    )


def _command(test: Mapping[str, Any]) -> str:
    """The harness's own words: no command comes from a planner."""
    return RUNNERS[test["runner"]][1].format(exam(test["feature"], test["runner"]))


def deployment(service: Mapping[str, Any]) -> dict[str, Any]:
    """`project.deploy` for a planned service: in a sandbox on this machine, and never in
    production without a person, whatever the planner was told."""
    smoke = {"get": service["health"]}
    if service.get("contains"):
        smoke["contains"] = service["contains"]
    return {
        "adapter": "process",
        "command": service["command"],
        "health": service["health"],
        "staging": {"smoke": [smoke]},
        "production": {"smoke": [smoke]},
        "approval": {"at_least": "REQUIRED"},
    }


def feature_list(made: Planned, project: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The text of a new feature_list.json."""
    named = {"name": made.name, **project}
    if made.service is not None and "deploy" not in named:
        named["deploy"] = deployment(made.service)
    body = {"version": 1, "project": named, "defaults": dict(defaults), "features": made.features}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def extended(text: str, made: Planned) -> str:
    """A feature list of the full form with the plan's features behind its own; every other
    character as it was."""
    from orchestrator.json_lines import scan  # noqa: PLC0415 - only here

    member = scan(text).member("features")
    assert member is not None
    end = member.value.items[-1].end
    rows = (json.dumps(f, indent=2, ensure_ascii=False) for f in made.features)
    added = "".join(",\n" + _indented(row) for row in rows)
    return text[:end] + added + text[end:]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))
