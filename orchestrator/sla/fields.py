"""What data_layer_slas.yaml is made of: durations, names, names of secrets, ports.

Nothing is coerced but durations, and no unknown key is let through. Words in capitals finish the
sentence "must be ...": they stand in the schema and in every error message.
"""

import keyword
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.features import rules
from orchestrator.sla import maintenance
from orchestrator.sla.values import DAY

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
SECONDS_WORDS = "a duration above 0: seconds, or 90s, 5m, 2h, 30d"
SECONDS_OR_0_WORDS = "a duration: seconds, or 90s, 5m, 2h, 30d"
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
ENV_WORDS = "the name of an environment variable; the secret itself never stands in this file"
Line = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(rules.name)]
Text = Annotated[str, Field(min_length=1, max_length=rules.TEXT_LIMIT), AfterValidator(rules.text)]
Argument = Annotated[str, Field(max_length=rules.TEXT_LIMIT), AfterValidator(_argument)]
Cron = Annotated[str, AfterValidator(maintenance.check_cron)]
Zone = Annotated[str, AfterValidator(maintenance.check_zone)]
Port = Annotated[int, Field(ge=1, le=65535)]
PORT_WORDS = "a port from 1 to 65535"
#: The answer's way to a value: keys and indexes with dots between, `data.0.updated_at`.
JSON_PATH_WORDS = "keys and indexes with dots between, such as data.0.updated_at"


class Strict(BaseModel):
    """What every object of the file is read by."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
