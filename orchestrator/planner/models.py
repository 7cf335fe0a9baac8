"""The shape of each planning document as a pydantic model; descriptions finish "must be ...".

The schemas are what the roles are given to answer with. Whatever a document does not foresee is
refused: nothing about deployment, approval, money or commands can come from a planner.
"""

import ast
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.features import rules
from orchestrator.features.models import DefaultsEntry, Folder, Id, ProjectEntry
from orchestrator.registry import Kind

#: What one text of a document may have: a page. A test file may have ten.
_PAGE, _FILE = 4_000, 60_000

Text = Annotated[str, Field(min_length=1, max_length=_PAGE), AfterValidator(rules.text)]
Line = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(rules.name)]
Story = Annotated[str, Field(pattern=r"^S[0-9]{1,3}$")]
Glob = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(rules.glob)]
_STORIES = Field(min_length=1, max_length=100, description="a list of ids of stories, such as S1")


def _file(value: str) -> str:
    rules.glob(value)
    if any(char in value for char in "*?[") or value.endswith("/"):
        raise ValueError(f"{rules.shown(value)} is no single file; name one such as pkg/mail.py")
    return value


def _python(value: str) -> str:
    rules.text(value)
    try:
        tree = ast.parse(value)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"is no Python ({error}); correct it") from None
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    ]
    if not tests:
        raise ValueError("has no test function; name them test_...")
    hollow = next((test.name for test in tests if not _asserts(test)), None)
    if hollow is not None:
        raise ValueError(f"{hollow} asserts nothing and cannot fail; assert what it is for")
    return value


def _asserts(test: ast.AST) -> bool:
    """An `assert`, or a call such as `pytest.raises(...)` or `self.assertEqual(...)`."""
    return any(
        isinstance(node, ast.Assert)
        or (
            isinstance(node, ast.Attribute)
            and node.attr.startswith(("assert", "raises", "fail", "warns"))
        )
        for node in ast.walk(test)
    )


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class StoryEntry(_Strict):
    """What somebody wants, and how it is told that they have it."""

    id: Story = Field(description="an id such as S1")
    who: Line = Field(description="who wants it")
    wants: Line = Field(description="what they want")
    so_that: Line = Field(description="what for")
    criteria: list[Line] = Field(min_length=1, max_length=20, description="a list of sentences")


class Requirements(_Strict):
    """The product manager's."""

    name: Id = Field(description="a short name such as csv-export", max_length=40)
    summary: Text = Field(description="what is wanted, in a few sentences")
    stories: list[StoryEntry] = Field(min_length=1, max_length=30, description="a list of stories")
    constraints: list[Line] = Field(default=[], max_length=30, description="a list of sentences")
    out_of_scope: list[Line] = Field(default=[], max_length=30, description="a list of sentences")


class ComponentEntry(_Strict):
    """One module."""

    name: Line = Field(description="what it is called")
    path: Annotated[str, Field(max_length=400), AfterValidator(_file)] = Field(
        description="its file from the root of the repository"
    )
    purpose: Line = Field(description="its one job")
    stories: list[Story] = _STORIES


class DecisionEntry(_Strict):
    """What was decided."""

    choice: Line = Field(description="what was decided")
    why: Line = Field(description="why")


class ServiceEntry(_Strict):
    """How the result is started, where it is a service."""

    command: list[Line] = Field(
        min_length=1, max_length=20, description="a list: a program and its arguments"
    )
    health: Annotated[str, Field(pattern=r"^/\S*$", max_length=200)] = Field(
        description="a path such as /health that answers 200 when it is ready"
    )
    contains: Line | None = Field(
        default=None, description="a text that the answer at `health` must contain"
    )


class Design(_Strict):
    """The architect's."""

    overview: Text = Field(description="how it works, in a few sentences")
    components: list[ComponentEntry] = Field(
        min_length=1, max_length=60, description="a list of modules"
    )
    decisions: list[DecisionEntry] = Field(default=[], max_length=30, description="a list")
    service: ServiceEntry | None = Field(
        default=None, description="command and health, for a service alone"
    )


class InterfaceEntry(_Strict):
    """One name that others use."""

    component: Line = Field(description="the name of a component")
    name: Line = Field(description="a name such as send")
    signature: Text = Field(
        description="how it is called: arguments and result, or method and path"
    )
    behaviour: Text = Field(description="what it does")
    errors: Text | None = Field(default=None, description="what happens on bad input")


class Interfaces(_Strict):
    """The API designer's."""

    interfaces: list[InterfaceEntry] = Field(min_length=1, max_length=200, description="a list")


class TaskEntry(_Strict):
    """One feature to be built."""

    id: Id = Field(description="a short name such as mail-queue")
    category: Line = Field(description="a word such as core")
    description: Text = Field(description="what is wanted")
    steps: list[Text] = Field(min_length=1, max_length=30, description="a list of sentences")
    depends_on: list[Id] = Field(default=[], max_length=60, description="a list of ids of features")
    scope: list[Glob] = Field(min_length=1, max_length=60, description="a list of files and globs")
    stories: list[Story] = _STORIES


class Tasks(_Strict):
    """The project manager's."""

    features: list[TaskEntry] = Field(min_length=1, max_length=60, description="a list of features")


class TestEntry(_Strict):
    """The acceptance of one feature."""

    feature: Id = Field(description="the id of a feature")
    proves: Line = Field(description="what it proves, in a sentence")
    runner: Literal["pytest"] = Field(default="pytest", description="pytest")
    text: Annotated[str, Field(max_length=_FILE), AfterValidator(_python)] = Field(
        description="the whole content of the test file"
    )


class Tests(_Strict):
    """The QA engineer's."""

    tests: list[TestEntry] = Field(min_length=1, max_length=60, description="a list: one a feature")


Content = Requirements | Design | Interfaces | Tasks | Tests

MODELS: Mapping[Kind, type[Content]] = {
    "product_requirements": Requirements,
    "system_design": Design,
    "api_specification": Interfaces,
    "task_breakdown": Tasks,
    "test_plan": Tests,
}


def schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema that the author of this kind answers with."""
    return MODELS[kind].model_json_schema()


class GoalFile(_Strict):
    """A goal that somebody has prepared: the project it is for, and where it is worked on."""

    goal: Text = Field(description="the goal")
    workspace: Folder = Field(default=".", description="the path of a folder")
    project: ProjectEntry = Field(default=ProjectEntry(), description="as in a feature list")
    defaults: DefaultsEntry = Field(default=DefaultsEntry(), description="as in a feature list")
