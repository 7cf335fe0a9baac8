"""The shapes of an SLA's `probe`: what is asked of whom, one model for each type."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from orchestrator.features import rules
from orchestrator.sla.fields import (
    ENV_WORDS,
    JSON_PATH_WORDS,
    PORT_WORDS,
    Argument,
    Env,
    Line,
    Port,
    Strict,
    Text,
)


class Table(Strict):
    """The newest row of a table."""

    dsn_env: Env = Field(description=ENV_WORDS)
    table: Line = Field(description="a table, with its schema where that is not on the path")
    column: Line = Field(description="a column of timestamps, or of seconds since 1970")
    filter: Text | None = Field(default=None, description="SQL that could stand after WHERE")


class JsonAnswer(Strict):
    """A moment in a JSON answer."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")] = Field(
        description="an address that begins with http:// or https://"
    )
    json_path: Line = Field(description=JSON_PATH_WORDS)
    method: Literal["GET", "POST"] = Field(default="GET", description="GET or POST")
    body: dict[str, Any] | None = Field(default=None, description="an object, sent as JSON")
    headers_env: dict[str, Env] = Field(
        default={}, description=f"an object: header to {ENV_WORDS}, which holds its whole value"
    )


class PostgresFreshness(Table):
    """Seconds since the newest timestamp."""

    type: Literal["postgres_freshness"]


def _target_form(value: object) -> str:
    return "<answer>" if isinstance(value, dict) and "url" in value else "<table>"


class PostgresLag(Strict):
    """Seconds that `target` is behind `source`, 0 when it is not."""

    type: Literal["postgres_lag"]
    source: Table = Field(description="an object with dsn_env, table and column")
    target: Annotated[
        Annotated[Table, Tag("<table>")] | Annotated[JsonAnswer, Tag("<answer>")],
        Discriminator(_target_form),
    ] = Field(description="an object with dsn_env, table and column, or with url and json_path")


class PostgresQuery(Strict):
    """The number that a query returns; it runs read-only."""

    type: Literal["postgres_query"]
    dsn_env: Env = Field(description=ENV_WORDS)
    query: Text = Field(description="one SELECT that returns one number")


class Http(Strict):
    """One request: how long it took, its status, or a number or moment in its JSON answer."""

    type: Literal["http"]
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] = Field(
        description="an address that begins with http:// or https://"
    )
    measure: Literal["latency", "status", "value", "age"] = Field(
        default="latency", description="latency, status, value or age"
    )
    json_path: Line | None = Field(default=None, description=JSON_PATH_WORDS)
    expect: Annotated[int, Field(ge=100, le=599)] = Field(
        default=200, description="the status that the answer must have, such as 200"
    )
    method: Literal["GET", "HEAD", "POST"] = Field(default="GET", description="GET, HEAD or POST")
    body: dict[str, Any] | None = Field(default=None, description="an object, sent as JSON")
    headers_env: dict[str, Env] = Field(
        default={}, description=f"an object: header to {ENV_WORDS}, which holds its whole value"
    )


class FileAge(Strict):
    """Seconds since the newest (or oldest) file that matches was changed."""

    type: Literal["file_age"]
    path: Line = Field(description="a path or glob, relative to the workspace")
    of: Literal["newest", "oldest"] = Field(default="newest", description="newest or oldest")


class FileCount(Strict):
    """How many files match."""

    type: Literal["file_count"]
    path: Line = Field(description="a path or glob, relative to the workspace")


class Tcp(Strict):
    """Seconds until a connection stands, and until the server's first words where expected."""

    type: Literal["tcp"]
    host: Line = Field(description="a host name or address")
    port: Port = Field(description=PORT_WORDS)
    expect: Line | None = Field(
        default=None, description="what the server's first words must hold, such as SSH-2.0"
    )


class Command(Strict):
    """The number that a program prints, alone or somewhere in JSON; it runs in the workspace."""

    type: Literal["command"]
    run: list[Argument] = Field(min_length=1, description="a list: a program and its arguments")
    json_path: Line | None = Field(default=None, description=JSON_PATH_WORDS)
    env: list[Env] = Field(
        default=[], description="a list of environment variables that it is given"
    )


class Skill(Strict):
    """The number in the JSON that a skill's script prints."""

    type: Literal["skill"]
    skill: Annotated[str, AfterValidator(rules.identifier)] = Field(
        description="the name of a folder in skills/"
    )
    script: Annotated[str, AfterValidator(rules.identifier)] = Field(
        description="the name of a file in the skill's scripts/"
    )
    args: list[Argument] = Field(default=[], description="a list of arguments")
    json_path: Line = Field(description=JSON_PATH_WORDS)
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
