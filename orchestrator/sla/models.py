"""The shape of data_layer_slas.yaml as pydantic models; its JSON Schema comes from here.

Each field's description finishes the sentence "must be ...": it stands in the schema and in
every error message.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, TypeAdapter

from orchestrator.sla.fields import (
    ENV_WORDS,
    PORT_WORDS,
    SECONDS_OR_0_WORDS,
    SECONDS_WORDS,
    Argument,
    Cron,
    Env,
    Line,
    Port,
    Seconds,
    SecondsOrNone,
    Strict,
    Text,
    Word,
    Zone,
)
from orchestrator.sla.probes import PROBE_TYPES, JsonAnswer, Probe, Table
from orchestrator.sla.values import DAY, Action, NoData, Severity

# ------------------------------------------------------------------------------------ SLAs


class WindowEntry(Strict):
    """Planned maintenance."""

    cron: Cron = Field(description="a cron line of five fields in quotes")
    duration: Seconds = Field(description=SECONDS_WORDS)
    time_zone: Zone = Field(default="UTC", description="a time zone such as Europe/Berlin")


class GatesEntry(Strict):
    """What is held up while the SLA is violated."""

    runs: bool = Field(default=False, description="true or false: whole runs")
    agents: list[Line] = Field(default=[], description="a list of agents' names or globs")
    features: list[Line] = Field(default=[], description="a list of features' ids or globs")
    scope: list[Line] = Field(default=[], description="a list of globs of files in the repo")
    promotion: bool = Field(default=False, description="true or false: the step to production")


class SlaEntry(Strict):
    """One SLA in full."""

    probe: Probe | None = Field(
        default=None, description=f"an object whose type is {', '.join(PROBE_TYPES)}"
    )
    error: SecondsOrNone = Field(description="the value beyond which the promise is broken")
    warn: SecondsOrNone | None = Field(
        default=None, description="the value beyond which somebody should look"
    )
    breach: Literal["above", "below"] = Field(default="above", description="above or below")
    objective: float = Field(
        default=95.0, gt=0, lt=100, description="per cent of good samples, above 0 and below 100"
    )
    window: Seconds = Field(default=30 * DAY, description=SECONDS_WORDS)
    severity: Severity = Field(default="error", description="info, warning, error or critical")
    no_data: NoData = Field(
        default="bad", description="bad, good or excluded: how missing data counts"
    )
    interval: Seconds | None = Field(default=None, description=SECONDS_WORDS)
    timeout: Seconds | None = Field(default=None, description=SECONDS_WORDS)
    hold_for: SecondsOrNone = Field(
        default=0.0, alias="for", description="how long it must be broken before it is announced"
    )
    gates: GatesEntry | None = Field(
        default=None, description="an object with runs, agents, features, scope or promotion"
    )
    maintenance: list[WindowEntry] = Field(
        default=[], description="a list of objects with cron, duration and time_zone"
    )
    depends_on: list[Word] = Field(default=[], description="a list of names of other SLAs")
    owner: Line | None = Field(default=None, description="who answers for it")
    runbook: Line | None = Field(default=None, description="where it says what to do")


def _sla_form(value: object) -> str:
    return "<full>" if isinstance(value, dict) else "<number>"


SlaForm = Annotated[
    Annotated[SecondsOrNone, Tag("<number>")] | Annotated[SlaEntry, Tag("<full>")],
    Discriminator(_sla_form),
]

# ---------------------------------------------------------------------------------- alerts


def _action_form(value: object) -> str:
    return "<list>" if isinstance(value, list) else "<one>"


class AlertEntry(Strict):
    """One alert in the roadmap's form."""

    condition: str = Field(description="a comparison of measured values, such as delay > 300")
    action: Annotated[
        Annotated[Action, Tag("<one>")] | Annotated[list[Action], Tag("<list>")],
        Discriminator(_action_form),
    ] = Field(
        default="log", description="slack, slack_webhook, command, email or log, or a list of these"
    )
    channel: Line | None = Field(default=None, description="a Slack channel such as #alerts")
    severity: Severity = Field(default="error", description="info, warning, error or critical")
    message: Text | None = Field(default=None, description="text; {value} is what was measured")
    hold_for: SecondsOrNone = Field(
        default=0.0, alias="for", description="how long it must hold before it is announced"
    )
    cooldown: SecondsOrNone | None = Field(default=None, description=SECONDS_OR_0_WORDS)
    repeat: Seconds | None = Field(default=None, description=SECONDS_WORDS)


class Slack(Strict):
    """Slack by a bot token."""

    token_env: Env = Field(default="SLACK_BOT_TOKEN", description=ENV_WORDS)
    channel: Line | None = Field(default=None, description="a Slack channel such as #alerts")
    api_url: Line = Field(default="https://slack.com/api/", description="an address")


class SlackWebhook(Strict):
    """Slack by an incoming webhook."""

    url_env: Env = Field(default="SLACK_WEBHOOK_URL", description=ENV_WORDS)


class AlertCommand(Strict):
    """A program that gets the notice as JSON on its standard input."""

    run: list[Argument] = Field(min_length=1, description="a list: a program and its arguments")
    env: list[Env] = Field(
        default=[], description="a list of environment variables that it is given"
    )


class Email(Strict):
    """Mail by SMTP."""

    host: Line = Field(description="a host name or address")
    port: Port = Field(default=587, description=PORT_WORDS)
    sender: Line = Field(alias="from", description="an address")
    to: list[Line] = Field(min_length=1, description="a list of addresses")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls, tls or none"
    )
    user_env: Env | None = Field(default=None, description=ENV_WORDS)
    password_env: Env | None = Field(default=None, description=ENV_WORDS)


class Notify(Strict):
    """Where notices go, and which of these takes what no alert names."""

    default: list[Action] = Field(
        default=["log"], description="a list of slack, slack_webhook, command, email, log"
    )
    slack: Slack = Field(default=Slack(), description="an object with token_env and channel")
    slack_webhook: SlackWebhook = Field(
        default=SlackWebhook(), description="an object with url_env"
    )
    command: AlertCommand | None = Field(default=None, description="an object with run")
    email: Email | None = Field(default=None, description="an object with host, from and to")


class MonitoringEntry(Strict):
    """How the monitor works."""

    check_interval: Seconds = Field(default=60.0, description=SECONDS_WORDS)
    timeout: Seconds = Field(default=10.0, description=SECONDS_WORDS)
    retention_days: float = Field(
        default=30.0, ge=1, le=366, description="a number of days from 1 to 366"
    )
    dashboard_port: Port = Field(default=8888, description=PORT_WORDS)
    health_port: Port = Field(default=8889, description=PORT_WORDS)
    cooldown: SecondsOrNone = Field(default=300.0, description=SECONDS_OR_0_WORDS)
    repeat: Seconds = Field(default=4 * 3600.0, description=SECONDS_WORDS)
    group_wait: Annotated[float, Field(ge=0, le=10)] = Field(
        default=2.0, description="seconds from 0 to 10"
    )
    group_by: list[Literal["severity", "owner", "sla"]] = Field(
        default=[], description="a list of severity, owner, sla"
    )
    store_env: Env | None = Field(default=None, description=ENV_WORDS)


class FileForm(Strict):
    """data_layer_slas.yaml."""

    version: int = Field(default=1, ge=1, le=1, description="1, the only version there is")
    slas: dict[Word, SlaForm] = Field(
        min_length=1, description="an object: name to threshold, or to a full SLA"
    )
    metrics: dict[Word, Word] = Field(
        default={}, description="an object: name in conditions to the name of an SLA"
    )
    alerts: list[AlertEntry] = Field(default=[], description="a list of objects with condition")
    notify: Notify = Field(default=Notify(), description="an object with slack, email, ...")
    monitoring: MonitoringEntry = Field(
        default=MonitoringEntry(), description="an object with check_interval, retention_days, ..."
    )


FILE: TypeAdapter[FileForm] = TypeAdapter(FileForm)


#: What pydantic writes into the place of an error beside the keys of the file, and the model
#: that goes on from there. In brackets, so that no key of the file can be taken for one.
TAGS: dict[str, type[BaseModel] | None] = {
    **{f"<{name}>": model for name, model in PROBE_TYPES.items()},
    "<full>": SlaEntry,
    "<table>": Table,
    "<answer>": JsonAnswer,
    "<number>": None,
    "<one>": None,
    "<list>": None,
    "[key]": None,
}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file, as published."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **FILE.json_schema(),
        "title": "data_layer_slas.yaml of FibreFlow",
    }
