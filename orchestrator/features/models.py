"""The shape of feature_list.json as pydantic models, both forms; the JSON Schema comes from here.

Nothing is coerced and no unknown key is let through. Each field's description finishes the
sentence "must be ...": it stands in the published schema and in every error message.
"""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from orchestrator.deploy.models import DeployEntry
from orchestrator.features import rules
from orchestrator.selection import OnNoConsensus, Policy
from orchestrator.values import Defaults, Feature, Gate, Profile, Project, Reports, Tier, Workspaces

_DEFAULTS = Defaults()
_PROJECT = Project()
_POLICY = Policy()

_LONG = Field(min_length=1, max_length=rules.TEXT_LIMIT)
_SHORT = Field(min_length=1, max_length=4096)  # a path, a glob, a name: PATH_MAX of Linux

Text = Annotated[str, _LONG, AfterValidator(rules.text)]
Command = Annotated[str, _LONG, AfterValidator(rules.command)]
Name = Annotated[str, _SHORT, AfterValidator(rules.name)]
Folder = Annotated[str, _SHORT, AfterValidator(rules.folder)]
Glob = Annotated[str, _SHORT, AfterValidator(rules.glob)]
Revision = Annotated[str, _SHORT, AfterValidator(rules.revision)]
Branch = Annotated[str, _SHORT, AfterValidator(rules.branch)]
Id = Annotated[
    str, Field(json_schema_extra={"pattern": rules.ID_PATTERN}), AfterValidator(rules.identifier)
]
Env = Annotated[
    dict[str, str],
    Field(json_schema_extra={"propertyNames": {"pattern": rules.ENV_PATTERN}}),
    AfterValidator(rules.environment),
]

# Ceilings catch typing errors, not ambition: each is far above any use and says so when hit.
_ATTEMPTS = Field(ge=1, le=100, description="a whole number from 1 to 100")
_MINUTES = Field(gt=0, le=1440, description="a number of minutes above 0, at most 1440")
_DOLLARS = Field(gt=0, le=1_000_000, description="US dollars above 0, at most 1000000")
_TIER = "haiku, sonnet or opus, in double quotes"
_AGENT = "the name of an agent, such as builtin"
_SHARE = "a share from 0 to 1, such as 0.95"
_WEIGHT = "a number from 0 to 1000"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class BareEntry(_Strict):
    """One entry of the bare form: a list whose order is its priority."""

    category: Name = Field(description="a word such as functional; ids are made from it")
    description: Text = Field(description="a non-empty string that says what is wanted")
    steps: list[Text] = Field(default=[], description="a list of non-empty strings")
    passes: bool = Field(default=False, description="true or false; only FibreFlow writes it")


class FeatureEntry(_Strict):
    """One feature of the full form."""

    id: Id = Field(description="a short name in double quotes, such as health-api")
    category: Name | None = Field(default=None, description="a non-empty string of one line")
    description: Text = Field(description="a non-empty string that says what is wanted")
    steps: list[Text] = Field(default=[], description="a list of non-empty strings")
    depends_on: list[Id] = Field(default=[], description="a list of ids of other features")
    priority: int = Field(
        default=0,
        ge=-1_000_000,
        le=1_000_000,
        description="a whole number, smaller is more urgent, at most a million either way",
    )
    acceptance: list[Command] | None = Field(
        default=None,
        min_length=1,
        description="a list of at least one shell command; without this key the feature ends in "
        "review unless the project's own tests decide",
    )
    scope: list[Glob] = Field(default=[], description="a list of globs such as src/**")
    agent: Id | None = Field(default=None, description=_AGENT)
    tier: Tier | None = Field(default=None, description=_TIER)
    attempts: Annotated[int | None, _ATTEMPTS] = None
    budget_usd: Annotated[float | None, _DOLLARS] = None
    timeout_minutes: Annotated[float | None, _MINUTES] = None
    passes: bool = Field(default=False, description="true or false; only FibreFlow writes it")

    def value(self) -> Feature:
        return Feature(**{**_frozen(self), "category": self.category or ""})


class GateEntry(_Strict):
    """A command that an attempt must pass beside its tests."""

    name: Id = Field(description="a short name such as audit")
    run: Command = Field(description="a shell command in double quotes")
    at_least: float | None = Field(default=None, ge=0, le=1, description=_SHARE)
    when: list[Glob] = Field(default=[], description="a list of globs such as requirements*.txt")
    allow: list[Name] = Field(default=[], description="a list of hosts such as pypi.org")

    def value(self) -> Gate:
        return Gate(self.name, self.run, self.at_least, tuple(self.when), tuple(self.allow))


class ReportsEntry(_Strict):
    """Where the project's commands leave what they report."""

    junit: list[Glob] = Field(default=[], description="a list of globs such as reports/*.xml")
    coverage: list[Glob] = Field(default=[], description="a list of globs such as lcov.info")

    def value(self) -> Reports:
        return Reports(tuple(self.junit), tuple(self.coverage))


class WeightsEntry(_Strict):
    """What the score is made of; only the ratios count."""

    coverage: float = Field(default=_POLICY.coverage, ge=0, le=1000, description=_WEIGHT)
    tests: float = Field(default=_POLICY.tests, ge=0, le=1000, description=_WEIGHT)
    quality: float = Field(default=_POLICY.quality, ge=0, le=1000, description=_WEIGHT)
    speed: float = Field(default=_POLICY.speed, ge=0, le=1000, description=_WEIGHT)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any((self.coverage, self.tests, self.quality, self.speed)):
            raise ValueError("all weights are 0; give at least one of them a share")
        return self


class SelectionEntry(_Strict):
    """How an attempt is chosen, and when a person is asked."""

    weights: WeightsEntry = Field(
        default=WeightsEntry(), description="an object with coverage, tests, quality and speed"
    )
    min_consensus: float = Field(default=_POLICY.min_consensus, ge=0, le=1, description=_SHARE)
    min_confidence: float = Field(default=_POLICY.min_confidence, ge=0, le=1, description=_SHARE)
    on_no_consensus: OnNoConsensus = Field(
        default=_POLICY.on_no_consensus, description="review or best, in double quotes"
    )

    def value(self) -> Policy:
        rest = {name: getattr(self, name) for name in type(self).model_fields if name != "weights"}
        return Policy(**self.weights.model_dump(), **rest)


class ProjectEntry(_Strict):
    """The repository being built."""

    name: Name | None = Field(default=None, description="a non-empty string of one line")
    repo: Folder = Field(default=_PROJECT.repo, description="the path of a git repository")
    base: Revision | None = Field(default=None, description="a branch, tag or commit to start at")
    branch: Branch = Field(default=_PROJECT.branch, description="a branch name git accepts")
    setup: Command | None = Field(default=None, description="a shell command in double quotes")
    test: Command | None = Field(default=None, description="a shell command in double quotes")
    protected: list[Glob] | None = Field(
        default=None, description="a list of globs such as tests/acceptance/**"
    )
    env: Env = Field(default={}, description="an object of names and string values")
    seed: Folder | None = Field(default=None, description="the path of a folder to start from")
    recording: Folder | None = Field(default=None, description="the path of a recording's folder")
    profile: Profile = Field(
        default=_PROJECT.profile, description="one of quick, standard, heavy, install"
    )
    workspaces: Workspaces = Field(
        default=_PROJECT.workspaces, description="one of auto, overlay, copy"
    )
    min_coverage: float | None = Field(default=None, ge=0, le=1, description=_SHARE)
    min_mutation: float | None = Field(default=None, ge=0, le=1, description=_SHARE)
    gates: list[GateEntry] = Field(default=[], description="a list of objects with name and run")
    reports: ReportsEntry = Field(
        default=ReportsEntry(), description="an object with junit and coverage"
    )
    selection: SelectionEntry = Field(
        default=SelectionEntry(), description="an object with weights, min_consensus, ..."
    )
    deploy: DeployEntry | None = Field(
        default=None, description="an object with adapter, staging and production"
    )

    def value(self) -> Project:
        made = {
            "name": self.name or "",
            "gates": tuple(gate.value() for gate in self.gates),
            "reports": self.reports.value(),
            "selection": self.selection.value(),
            "deploy": self.deploy.value() if self.deploy is not None else None,
        }
        return Project(**{**_frozen(self), **made})


class DefaultsEntry(_Strict):
    """What a feature gets where it says nothing."""

    attempts: Annotated[int, _ATTEMPTS] = _DEFAULTS.attempts
    rounds: int = Field(
        default=_DEFAULTS.rounds, ge=1, le=20, description="a whole number from 1 to 20"
    )
    repairs: int = Field(
        default=_DEFAULTS.repairs, ge=0, le=5, description="a whole number from 0 to 5"
    )
    quorum: Annotated[int | None, _ATTEMPTS] = _DEFAULTS.quorum
    timeout_minutes: Annotated[float, _MINUTES] = _DEFAULTS.timeout_minutes
    turns: int = Field(
        default=_DEFAULTS.turns, ge=1, le=1000, description="a whole number from 1 to 1000"
    )
    budget_usd: Annotated[float | None, _DOLLARS] = _DEFAULTS.budget_usd
    agent: Id = Field(default=_DEFAULTS.agent, description=_AGENT)
    tier: Tier | None = Field(default=_DEFAULTS.tier, description=_TIER)

    def value(self) -> Defaults:
        return Defaults(**_frozen(self))


class FullForm(_Strict):
    """The full form of feature_list.json."""

    version: int = Field(
        default=1, ge=1, le=1, description="1, the only version this program reads"
    )
    project: ProjectEntry = Field(
        default=ProjectEntry(), description="an object that describes the repository"
    )
    defaults: DefaultsEntry = Field(
        default=DefaultsEntry(), description="an object of settings for every feature"
    )
    features: list[FeatureEntry] = Field(min_length=1, description="a list of at least one feature")


BARE: TypeAdapter[list[BareEntry]] = TypeAdapter(Annotated[list[BareEntry], Field(min_length=1)])
FULL: TypeAdapter[FullForm] = TypeAdapter(FullForm)


def _frozen(entry: BaseModel) -> dict[str, Any]:
    """The fields as a frozen value takes them: tuples for lists; an absent list is empty."""
    values = {name: getattr(entry, name) for name in type(entry).model_fields}
    if values.get("acceptance", ()) is None:
        values["acceptance"] = ()
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of both forms, as published."""
    either = TypeAdapter(Annotated[list[BareEntry], Field(min_length=1)] | FullForm)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "feature_list.json of FibreFlow",
        **either.json_schema(),
    }
