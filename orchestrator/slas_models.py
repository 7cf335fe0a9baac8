"""The shape of data_layer_slas.yaml as pydantic models; its JSON Schema comes from here.

Nothing is coerced but durations, and no unknown key is let through. Each field's description
finishes the sentence "must be ...": it stands in the schema and in every error message.
"""

import keyword
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
)

from orchestrator import feature_rules as rules
from orchestrator import slas_maintenance as maintenance
from orchestrator.slas_values import DAY, Action, NoData, Severity

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY}


def duration(value: object) -> object:
    """`5m`, `1.5h`, `30 d` as seconds; numbers are seconds already."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{rules.shown(value)} is no duration; write seconds, or 90s, 5m, 2h, 30d")
    return float(match[1]) * _UNITS[match[2]]


def _word(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN.strip("^$"), value) or keyword.iskeyword(value):
        raise ValueError(
            f"{rules.shown(value)} is no usable name, for conditions name it too; write letters, "
            "digits and _ only, at most 64"
        )
    return value


def _argument(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character, which no argument can; remove it")
    return value


_SCHEMA_OF_DURATION = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}]
}
_SECONDS = "a duration above 0: seconds, or 90s, 5m, 2h, 30d"
_SECONDS_OR_0 = "a duration: seconds, or 90s, 5m, 2h, 30d"
Seconds = Annotated[
    float,
    BeforeValidator(duration),
    Field(gt=0, le=366 * DAY, json_schema_extra=_SCHEMA_OF_DURATION),
]
SecondsOrNone = Annotated[
    float,
    BeforeValidator(duration),
    Field(ge=0, le=366 * DAY, json_schema_extra=_SCHEMA_OF_DURATION),
]
Word = Annotated[str, AfterValidator(_word), Field(json_schema_extra={"pattern": NAME_PATTERN})]
Env = Annotated[str, Field(pattern=rules.ENV_PATTERN)]
_ENV = "the name of an environment variable; the secret itself never stands in this file"
Line = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(rules.name)]
Text = Annotated[str, Field(min_length=1, max_length=rules.TEXT_LIMIT), AfterValidator(rules.text)]
Argument = Annotated[str, Field(max_length=rules.TEXT_LIMIT), AfterValidator(_argument)]
Cron = Annotated[str, AfterValidator(maintenance.check_cron)]
Zone = Annotated[str, AfterValidator(maintenance.check_zone)]
Port = Annotated[int, Field(ge=1, le=65535)]
_PORT = "a port from 1 to 65535"
#: The answer's way to a value: keys and indexes with dots between, `data.0.updated_at`.
_JSON_PATH = "keys and indexes with dots between, such as data.0.updated_at"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


# ---------------------------------------------------------------------------------- probes


class Table(_Strict):
    """The newest row of a table."""

    dsn_env: Env = Field(description=_ENV)
    table: Line = Field(description="a table, with its schema where that is not on the path")
    column: Line = Field(description="a column of timestamps, or of seconds since 1970")
    filter: Text | None = Field(default=None, description="SQL that could stand after WHERE")


class JsonAnswer(_Strict):
    """A moment in a JSON answer."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")] = Field(
        description="an address that begins with http:// or https://"
    )
    json_path: Line = Field(description=_JSON_PATH)
    method: Literal["GET", "POST"] = Field(default="GET", description="GET or POST")
    body: dict[str, Any] | None = Field(default=None, description="an object, sent as JSON")
    headers_env: dict[str, Env] = Field(
        default={}, description=f"an object: header to {_ENV}, which holds its whole value"
    )


class PostgresFreshness(Table):
    """Seconds since the newest timestamp."""

    type: Literal["postgres_freshness"]


def _target_form(value: object) -> str:
    return "<answer>" if isinstance(value, dict) and "url" in value else "<table>"


class PostgresLag(_Strict):
    """Seconds that `target` is behind `source`, 0 when it is not."""

    type: Literal["postgres_lag"]
    source: Table = Field(description="an object with dsn_env, table and column")
    target: Annotated[
        Annotated[Table, Tag("<table>")] | Annotated[JsonAnswer, Tag("<answer>")],
        Discriminator(_target_form),
    ] = Field(description="an object with dsn_env, table and column, or with url and json_path")


class PostgresQuery(_Strict):
    """The number that a query returns; it runs read-only."""

    type: Literal["postgres_query"]
    dsn_env: Env = Field(description=_ENV)
    query: Text = Field(description="one SELECT that returns one number")


class Http(_Strict):
    """One request: how long it took, its status, or a number or moment in its JSON answer."""

    type: Literal["http"]
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] = Field(
        description="an address that begins with http:// or https://"
    )
    measure: Literal["latency", "status", "value", "age"] = Field(
        default="latency", description="latency, status, value or age"
    )
    json_path: Line | None = Field(default=None, description=_JSON_PATH)
    expect: Annotated[int, Field(ge=100, le=599)] = Field(
        default=200, description="the status that the answer must have, such as 200"
    )
    method: Literal["GET", "HEAD", "POST"] = Field(default="GET", description="GET, HEAD or POST")
    body: dict[str, Any] | None = Field(default=None, description="an object, sent as JSON")
    headers_env: dict[str, Env] = Field(
        default={}, description=f"an object: header to {_ENV}, which holds its whole value"
    )


class FileAge(_Strict):
    """Seconds since the newest (or oldest) file that matches was changed."""

    type: Literal["file_age"]
    path: Line = Field(description="a path or glob, relative to the workspace")
    of: Literal["newest", "oldest"] = Field(default="newest", description="newest or oldest")


class FileCount(_Strict):
    """How many files match."""

    type: Literal["file_count"]
    path: Line = Field(description="a path or glob, relative to the workspace")


class Tcp(_Strict):
    """Seconds until a connection stands, and until the server's first words where expected."""

    type: Literal["tcp"]
    host: Line = Field(description="a host name or address")
    port: Port = Field(description=_PORT)
    expect: Line | None = Field(
        default=None, description="what the server's first words must hold, such as SSH-2.0"
    )


class Command(_Strict):
    """The number that a program prints, alone or somewhere in JSON; it runs in the workspace."""

    type: Literal["command"]
    run: list[Argument] = Field(min_length=1, description="a list: a program and its arguments")
    json_path: Line | None = Field(default=None, description=_JSON_PATH)
    env: list[Env] = Field(
        default=[], description="a list of environment variables that it is given"
    )


class Skill(_Strict):
    """The number in the JSON that a skill's script prints."""

    type: Literal["skill"]
    skill: Annotated[str, AfterValidator(rules.identifier)] = Field(
        description="the name of a folder in skills/"
    )
    script: Annotated[str, AfterValidator(rules.identifier)] = Field(
        description="the name of a file in the skill's scripts/"
    )
    args: list[Argument] = Field(default=[], description="a list of arguments")
    json_path: Line = Field(description=_JSON_PATH)
    env: list[Env] = Field(
        default=[], description="a list of environment variables that it is given"
    )


def _probe_type(value: object) -> str:
    given = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{given}>"


Probe = Annotated[
    Annotated[PostgresFreshness, Tag("<postgres_freshness>")]
    | Annotated[PostgresLag, Tag("<postgres_lag>")]
    | Annotated[PostgresQuery, Tag("<postgres_query>")]
    | Annotated[Http, Tag("<http>")]
    | Annotated[FileAge, Tag("<file_age>")]
    | Annotated[FileCount, Tag("<file_count>")]
    | Annotated[Tcp, Tag("<tcp>")]
    | Annotated[Command, Tag("<command>")]
    | Annotated[Skill, Tag("<skill>")],
    Discriminator(_probe_type),
]
PROBES: tuple[type[BaseModel], ...] = (
    PostgresFreshness,
    PostgresLag,
    PostgresQuery,
    Http,
    FileAge,
    FileCount,
    Tcp,
    Command,
    Skill,
)
PROBE_TYPES: dict[str, type[BaseModel]] = {
    str(kind.model_fields["type"].annotation.__args__[0]): kind  # type: ignore[union-attr]
    for kind in PROBES
}

# ------------------------------------------------------------------------------------ SLAs


class WindowEntry(_Strict):
    """Planned maintenance."""

    cron: Cron = Field(description="a cron line of five fields in quotes")
    duration: Seconds = Field(description=_SECONDS)
    time_zone: Zone = Field(default="UTC", description="a time zone such as Europe/Berlin")


class GatesEntry(_Strict):
    """What is held up while the SLA is violated."""

    runs: bool = Field(default=False, description="true or false: whole runs")
    agents: list[Line] = Field(default=[], description="a list of agents' names or globs")
    features: list[Line] = Field(default=[], description="a list of features' ids or globs")
    scope: list[Line] = Field(default=[], description="a list of globs of files in the repo")
    promotion: bool = Field(default=False, description="true or false: the step to production")


class SlaEntry(_Strict):
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
    window: Seconds = Field(default=30 * DAY, description=_SECONDS)
    severity: Severity = Field(default="error", description="info, warning, error or critical")
    no_data: NoData = Field(
        default="bad", description="bad, good or excluded: how missing data counts"
    )
    interval: Seconds | None = Field(default=None, description=_SECONDS)
    timeout: Seconds | None = Field(default=None, description=_SECONDS)
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


class AlertEntry(_Strict):
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
    cooldown: SecondsOrNone | None = Field(default=None, description=_SECONDS_OR_0)
    repeat: Seconds | None = Field(default=None, description=_SECONDS)


class Slack(_Strict):
    """Slack by a bot token."""

    token_env: Env = Field(default="SLACK_BOT_TOKEN", description=_ENV)
    channel: Line | None = Field(default=None, description="a Slack channel such as #alerts")
    api_url: Line = Field(default="https://slack.com/api/", description="an address")


class SlackWebhook(_Strict):
    """Slack by an incoming webhook."""

    url_env: Env = Field(default="SLACK_WEBHOOK_URL", description=_ENV)


class AlertCommand(_Strict):
    """A program that gets the notice as JSON on its standard input."""

    run: list[Argument] = Field(min_length=1, description="a list: a program and its arguments")
    env: list[Env] = Field(
        default=[], description="a list of environment variables that it is given"
    )


class Email(_Strict):
    """Mail by SMTP."""

    host: Line = Field(description="a host name or address")
    port: Port = Field(default=587, description=_PORT)
    sender: Line = Field(alias="from", description="an address")
    to: list[Line] = Field(min_length=1, description="a list of addresses")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls, tls or none"
    )
    user_env: Env | None = Field(default=None, description=_ENV)
    password_env: Env | None = Field(default=None, description=_ENV)


class Notify(_Strict):
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


class MonitoringEntry(_Strict):
    """How the monitor works."""

    check_interval: Seconds = Field(default=60.0, description=_SECONDS)
    timeout: Seconds = Field(default=10.0, description=_SECONDS)
    retention_days: float = Field(
        default=30.0, ge=1, le=366, description="a number of days from 1 to 366"
    )
    dashboard_port: Port = Field(default=8888, description=_PORT)
    health_port: Port = Field(default=8889, description=_PORT)
    cooldown: SecondsOrNone = Field(default=300.0, description=_SECONDS_OR_0)
    repeat: Seconds = Field(default=4 * 3600.0, description=_SECONDS)
    group_wait: Annotated[float, Field(ge=0, le=10)] = Field(
        default=2.0, description="seconds from 0 to 10"
    )
    group_by: list[Literal["severity", "owner", "sla"]] = Field(
        default=[], description="a list of severity, owner, sla"
    )
    store_env: Env | None = Field(default=None, description=_ENV)


class FileForm(_Strict):
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
