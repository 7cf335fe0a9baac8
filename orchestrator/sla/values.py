"""The nouns of data-layer SLAs as frozen values: promises, samples, alert rules, and the file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orchestrator.sla.models import Notify
    from orchestrator.sla.probes import Probe

#: What a sample says. `no_data`: nothing could be measured. `maintenance`: planned, not judged.
SlaState = Literal["ok", "warn", "error", "no_data", "maintenance"]
STATES: tuple[SlaState, ...] = ("ok", "warn", "error", "no_data", "maintenance")

Severity = Literal["info", "warning", "error", "critical"]

#: How missing data counts against the objective.
NoData = Literal["bad", "good", "excluded"]

Action = Literal["slack", "slack_webhook", "command", "email", "log"]

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Window:
    """Maintenance from each moment `cron` names (in `time_zone`) for `seconds`."""

    cron: str
    seconds: float
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Gates:
    """What an SLA holds up while it is violated. Globs; `scope` is compared with features' scope.

    `runs`: a whole run. `promotion`: the step to production.
    """

    runs: bool = False
    agents: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    promotion: bool = False


@dataclass(frozen=True, slots=True)
class Sla:
    """One promise. Values beyond `warn` or `error` (above, or below, as `breach` says) break it.

    Durations in seconds; `objective` is the share of good samples, 0..1, over `window`.
    `depends_on`: SLAs whose violation makes this one's alerts pointless.
    `probe` None: nothing measures it, so that its state is no data.
    """

    name: str
    error: float
    warn: float | None = None
    probe: "Probe | None" = None
    breach: Literal["above", "below"] = "above"
    objective: float = 0.95
    window: float = 30 * DAY
    severity: Severity = "error"
    no_data: NoData = "bad"
    interval: float = 60.0
    timeout: float = 10.0
    hold_for: float = 0.0
    gates: Gates = Gates()
    maintenance: tuple[Window, ...] = ()
    depends_on: tuple[str, ...] = ()
    owner: str = ""
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a notice goes. `channel` is a Slack channel, empty for the route's own default."""

    action: Action
    channel: str = ""

    @property
    def name(self) -> str:
        return f"{self.action}:{self.channel}" if self.channel else self.action


@dataclass(frozen=True, slots=True)
class Rule:
    """What is announced, of which severity, to whom. `condition` None: by the SLA's own state.

    `states`: the states of its one SLA that violate a rule without a condition. Durations in
    seconds: `pending` is how long a violation must last, `cooldown` the least time between two
    announcements, `repeat` the time after which a lasting one is announced again.
    `inhibited_by`: keys of rules whose violation silences this one.
    """

    key: str
    slas: tuple[str, ...]
    severity: Severity
    routes: tuple[Route, ...]
    message: str = ""
    condition: str | None = None
    states: tuple[SlaState, ...] = ()
    pending: float = 0.0
    cooldown: float = 300.0
    repeat: float = 4 * 3600.0
    inhibited_by: tuple[str, ...] = ()
    owner: str = ""
    runbook: str = ""

    @property
    def cooldown_key(self) -> str:
        """Rules about the same SLAs, of one severity, to the same places share their cooldown."""
        places = ",".join(sorted(route.name for route in self.routes))
        return f"{','.join(sorted(self.slas))}/{self.severity}/{places}"


@dataclass(frozen=True, slots=True)
class Monitoring:
    """How the monitor works. Durations in seconds; ports of the health endpoint and the page."""

    interval: float = 60.0
    retention: float = 30 * DAY
    page_port: int = 8888
    health_port: int = 8889
    group_wait: float = 2.0
    group_by: tuple[str, ...] = ()
    store_env: str | None = None


@dataclass(frozen=True, slots=True)
class SlaFile:
    """data_layer_slas.yaml, read without a single error. `metrics`: name in conditions -> SLA."""

    slas: Mapping[str, Sla]
    rules: tuple[Rule, ...] = ()
    metrics: Mapping[str, str] = field(default_factory=dict)
    monitoring: Monitoring = Monitoring()
    notify: "Notify | None" = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement at `time` (seconds since the epoch). `measured` is what it would be
    outside of maintenance; `value` None is no data; `detail` says why in words."""

    sla: str
    time: float
    state: SlaState
    measured: SlaState
    value: float | None = None
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class HourSummary:
    """All samples of one SLA in the hour that begins at `hour` (seconds since the epoch)."""

    sla: str
    hour: float
    counts: Mapping[str, int]
    low: float | None = None
    high: float | None = None
    mean: float | None = None
