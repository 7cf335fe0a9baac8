"""What a probe is given of the world, and how it reads moments, numbers and secrets from it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.ports import Clock
from orchestrator.errors import ProbeError
from orchestrator.features.rules import bounded

if TYPE_CHECKING:
    import httpx2

#: An answer beyond this is no measurement. Bytes.
ANSWER_LIMIT = 1_000_000
#: How far clocks of machines that keep time may be apart. Seconds.
SKEW = 30.0
#: Larger numbers are milliseconds: as seconds this is the year 5138.
_MILLISECONDS = 1e11


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The workspace's folder, the environment with its secrets, and a shared HTTP client.

    `timeout` in seconds is held for every probe from outside; those that can tell the other
    side of it do.
    """

    workspace: Path
    env: Mapping[str, str]
    clock: Clock
    client: "httpx2.AsyncClient" = field(repr=False)
    timeout: float = 10.0

    def secret(self, name: str) -> str:
        """Raises `ProbeError` naming the variable when it is not set."""
        value = self.env.get(name, "")
        if not value:
            raise ProbeError(f"the environment variable {name} is not set")
        return value

    def age(self, moment: float) -> float:
        """Seconds since `moment`, which may be a little in the future by another clock.
        Raises `ProbeError` for more than a little: then nothing is known about its age."""
        age = self.clock.now() - moment
        if age < -SKEW:
            raise ProbeError(f"lies {-age:.0f} s in the future: a clock or the data is wrong")
        return max(0.0, age)


def number(value: object) -> float:
    """A finite number. Raises `ProbeError` for everything else, also for true and for text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProbeError(f"{_brief(value)} is no number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ProbeError(f"{found} is no finite number")
    return found


def moment(value: object) -> float:
    """Seconds since 1970: of a datetime (in UTC where it names no zone), an ISO text, or a
    number of seconds or milliseconds. Raises `ProbeError`."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ProbeError(f"{_brief(value)} is no moment in ISO 8601") from None
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        try:
            return aware.timestamp()
        except (OverflowError, ValueError):
            raise ProbeError(f"{_brief(str(value))} is no moment") from None
    seconds = number(value)
    return seconds / 1000 if seconds > _MILLISECONDS else seconds


def inside(answer: bytes, path: str) -> Any:
    """The value at `a.0.b` in a JSON answer. Raises `ProbeError`."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        raise ProbeError(
            f"the answer is no JSON: {_brief(answer[:80].decode('utf-8', 'replace'))}"
        ) from None
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ProbeError(
                f"the answer has nothing at {path} ({bounded(part)} is missing)"
            ) from None
    return value


def _brief(value: object) -> str:
    if value is None:
        return "null"
    return ascii(bounded(value, 60)) if isinstance(value, str) else bounded(repr(value), 60)
