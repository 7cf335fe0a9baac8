"""What the `e2b` provider is told by the environment: account, addresses, plan, size, prices."""

import importlib.resources
import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.errors import InputError, SandboxUnavailableError

_PREFIX = "FIBREFLOW_E2B_"


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars, and where and when they were read."""

    cpu_second_usd: float
    gib_second_usd: float
    as_of: str
    source: str


@dataclass(frozen=True, slots=True)
class E2BSettings:
    """`lifetime_seconds`: how long a sandbox outlives the last sign of life of this program.

    `concurrent` and `creates_per_second` are the plan's limits, kept to on this side;
    `patience_seconds` is how long a refusal for want of room (429, 503) is waited out. `account`
    is passed to every call of the SDK. `deployment` labels what is made; empty for a name drawn
    once per state folder.
    """

    account: Mapping[str, str]
    image: str
    cpus: int
    memory_mb: int
    lifetime_seconds: float
    concurrent: int
    creates_per_second: float
    prices: Prices
    patience_seconds: float = 300.0
    request_seconds: float = 60.0
    reconnects: int = 5
    deployment: str = ""
    reconnect_seconds: float = 0.5  # before the first one; each wait is twice as long

    def cost_usd(self, seconds: float) -> float:
        """Of one sandbox that ran for `seconds`. Paused ones cost nothing.

        Formula: https://e2b.dev/docs/faq/calculate-sandbox-price
        """
        gib = self.memory_mb / 1024
        rate = self.cpus * self.prices.cpu_second_usd + gib * self.prices.gib_second_usd
        return rate * seconds


@dataclass(frozen=True, slots=True)
class _Read:
    """Numbers from the environment, else from the file of defaults."""

    environment: Mapping[str, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> float:
        given = self.environment.get(_PREFIX + name.upper())
        if given is None:
            return float(self.defaults[name])
        try:
            value = float(given)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise InputError(f"{_PREFIX}{name.upper()}={given}: give a number above zero")
        return value


def read_settings(environment: Mapping[str, str]) -> E2BSettings:
    """Raises `SandboxUnavailableError` without a key or the SDK, `InputError` for bad values."""
    if importlib.util.find_spec("e2b_code_interpreter") is None:
        raise SandboxUnavailableError(
            "the E2B SDK is not installed; install it with `pip install 'fibreflow[e2b]'`"
        )
    if not environment.get("E2B_API_KEY"):
        raise SandboxUnavailableError(
            "E2B_API_KEY is not set; get a key at https://e2b.dev/dashboard?tab=keys and set "
            "E2B_API_KEY, or use another --sandbox"
        )
    text = importlib.resources.files(__package__).joinpath("e2b.yaml").read_text("utf-8")
    defaults = yaml.safe_load(text)
    plan = environment.get(f"{_PREFIX}PLAN", defaults["plan"])
    if plan not in defaults["plans"]:
        known = ", ".join(defaults["plans"])
        raise InputError(f"{_PREFIX}PLAN={plan}: the plans are {known}")
    read = _Read(environment, {**defaults["sandbox"], **defaults["plans"][plan]})
    longest = defaults["plans"][plan]["longest_seconds"]
    names = {"E2B_API_KEY": "api_key", "E2B_DOMAIN": "domain", "E2B_API_URL": "api_url",
             "E2B_SANDBOX_URL": "sandbox_url"}  # fmt: skip
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return E2BSettings(
        account={names[k]: environment[k] for k in names if environment.get(k)},
        image=environment.get(f"{_PREFIX}IMAGE", f"python:{python}"),
        cpus=int(read.number("cpus")),
        memory_mb=int(read.number("memory_mb")),
        lifetime_seconds=min(read.number("lifetime_seconds"), longest),
        concurrent=int(read.number("concurrent")),
        creates_per_second=read.number("creates_per_second"),
        prices=Prices(**{**defaults["prices"], "as_of": str(defaults["prices"]["as_of"])}),
        patience_seconds=read.number("patience_seconds"),
        request_seconds=read.number("request_seconds"),
        deployment=_deployment(environment.get(f"{_PREFIX}DEPLOYMENT", "")),
    )


def _deployment(given: str) -> str:
    """A part of names in the cloud, in which a dash ends it."""
    if re.fullmatch(r"[a-z0-9]{0,20}", given) is None:
        raise InputError(
            f"{_PREFIX}DEPLOYMENT={given}: give at most twenty small letters and digits"
        )
    return given
