"""The nouns of the system as frozen values: what goes in and out of every decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.deploy.values import Deploy
from orchestrator.selection import Policy

Tier = Literal["haiku", "sonnet", "opus"]
#: A set of limits of harness/sandboxes/profiles.yaml.
Profile = Literal["quick", "standard", "heavy", "install"]
#: How a sandbox has the files of its base: under an overlay, or copied. "auto" is found by trying.
Workspaces = Literal["auto", "overlay", "copy"]
TIERS: tuple[Tier, ...] = ("haiku", "sonnet", "opus")

#: How an agent's work on an attempt ended. `submitted` alone goes on to verification with
#: intent; a patch left behind at a `limit` is verified too, because it may still be right.
Ending = Literal["submitted", "limit", "error", "cancelled"]


@dataclass(frozen=True, slots=True)
class Feature:
    """A node of the DAG: one entry of feature_list.json.

    `acceptance` holds shell commands, run at the root of the repo; exit 0 is a pass.
    `scope` holds globs the attempt is asked to stay within. `None` means "the default".
    """

    id: str
    description: str
    category: str = ""
    steps: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    priority: int = 0  # smaller is more urgent
    acceptance: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    agent: str | None = None
    tier: Tier | None = None
    attempts: int | None = None
    budget_usd: float | None = None
    timeout_minutes: float | None = None
    passes: bool = False


@dataclass(frozen=True, slots=True)
class Reports:
    """Globs of the reports that the project's own commands write: JUnit XML, and Cobertura XML or
    LCOV."""

    junit: tuple[str, ...] = ()
    coverage: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.junit or self.coverage)


@dataclass(frozen=True, slots=True)
class Gate:
    """A command that must end with 0 on a patched tree and, with `at_least`, whose last line ends
    in a score that is no lower. `when`: globs, one of which the patch must touch; empty is any
    file. `allow`: hosts that it may reach."""

    name: str
    run: str
    at_least: float | None = None
    when: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """The repository being built and how to work with it.

    `repo` is a path as written (relative to the workspace). `seed` is a folder whose content
    becomes the first commit when `repo` does not exist. `recording` is a folder of recorded
    model transcripts that stand in for a model. `setup` prepares the base and may use the
    network; `test` runs the project's own tests. `profile` names the limits of every sandbox.
    `min_coverage` is the share of its added lines that an attempt's tests must run, None for any;
    `min_mutation` the share of mutants of its added lines that they must notice.
    `workspaces`: "copy" for a project that renames folders of its own, which an overlay refuses.
    """

    name: str = ""
    repo: str = "."
    base: str | None = None
    branch: str = "autopilot"
    setup: str | None = None
    test: str | None = None
    protected: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    seed: str | None = None
    recording: str | None = None
    profile: Profile = "standard"
    workspaces: Workspaces = "auto"
    min_coverage: float | None = None
    min_mutation: float | None = None
    gates: tuple[Gate, ...] = ()
    reports: Reports = Reports()
    selection: Policy = field(default_factory=Policy)
    deploy: Deploy | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a feature gets where it says nothing. `quorum`: a round is decided as soon as this
    many attempts have passed everything (None: see `orchestrator.runs.plan.QUORUM`); the rest are
    cancelled when the winner is merged. `repairs`: the most that one attempt may make.
    `exactly`: a round starts all of its attempts at once.
    `budget_usd` caps the whole run; a feature's own `budget_usd` caps that feature.
    """

    attempts: int = 15
    rounds: int = 3
    repairs: int = 0
    quorum: int | None = None
    timeout_minutes: float = 30.0
    turns: int = 60
    budget_usd: float | None = None
    agent: str = "builtin"
    tier: Tier | None = None
    exactly: bool = False


@dataclass(frozen=True, slots=True)
class FeatureList:
    """A feature list that was read without a single error."""

    features: tuple[Feature, ...]
    project: Project = Project()
    defaults: Defaults = Defaults()
    form: Literal["bare", "full"] = "full"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more model calls. `input` excludes cache reads and cache writes."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """Names one attempt: `str(key)` is unique in a run, `name` within its feature."""

    feature: str
    round: int  # from 1
    number: int  # from 1, within the round

    @property
    def name(self) -> str:
        return f"r{self.round}-a{self.number:02d}"

    def __str__(self) -> str:
        return f"{self.feature}/{self.name}"


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """What the harness, not the agent, counts. `seconds` is wall time; `usd` None is no cap."""

    turns: int
    seconds: float
    tokens: int = 2_000_000
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of one attempt's agent. `patch` is a file name in the attempt's log folder,
    None when nothing was changed. `cost_usd` None is an unknown cost, never zero. `repairs`: how
    often the agent was asked to mend what verification had found.
    """

    key: AttemptKey
    ending: Ending
    reason: str
    turns: int = 0
    usage: Usage = Usage()
    cost_usd: float | None = None
    seconds: float = 0.0
    patch: str | None = None
    repairs: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One trusted check or test run: what was run, whether it passed, why not in a line."""

    name: str
    passed: bool
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Verification:
    """What the harness itself observed about one patch, in clean sandboxes.

    `usable`: it applies, leaves protected files alone and breaks nothing that passed before.
    `acceptance` has one entry per acceptance command, in the order of the feature list.
    `coverage` (of changed lines) and `quality` are 0..1; None is not measured, never zero.
    `problems` says in words what disqualifies it or what failed, most important first.
    """

    usable: bool
    acceptance: tuple[CheckResult, ...] = ()
    regressions: tuple[str, ...] = ()
    coverage: float | None = None
    quality: float | None = None
    seconds: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Usable, judged by at least one trusted check, and none of them failed."""
        return self.usable and bool(self.acceptance) and all(c.passed for c in self.acceptance)
