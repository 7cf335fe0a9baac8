"""The nouns of a deployment's configuration as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.approval import Risk
from orchestrator.approval_requests import People

#: When a run deploys by itself what it has merged.
DeployOn = Literal["all", "partial", "demand"]
AdapterName = Literal["process", "command", "compose", "ssh"]
EnvironmentName = Literal["staging", "production"]
ENVIRONMENTS: tuple[EnvironmentName, ...] = ("staging", "production")


@dataclass(frozen=True, slots=True)
class Smoke:
    """One smoke test: a GET (`path`, expected `status`, a text the body must contain), or a
    shell command that must exit 0; it knows the address as $FIBREFLOW_URL."""

    get: str = ""
    status: int = 200
    contains: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """One place to deploy to. `listen`: the port of a `process` on loopback, 0 for any free one.
    `deploy`, `current` (prints the commit that is live) and `roll_back` are shell lines of the
    adapter `command`, `switch` too, for what is deployed beside the live one first; `candidate`:
    where that is found before it is live. `host`, `path` and `config` (a file of ssh's own
    configuration) are those of `ssh`."""

    smoke: tuple[Smoke, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    listen: int = 0
    url: str = ""
    deploy: str = ""
    switch: str = ""
    current: str = ""
    roll_back: str = ""
    candidate: str = ""
    host: str = ""
    path: str = ""
    config: str = ""


@dataclass(frozen=True, slots=True)
class Deploy:
    """How the project is deployed. `on` all: only when every feature is merged; demand: by
    `fibreflow deploy` alone. `command` and
    `port`: of the service that `process` supervises; `health`: the path that answers 200 when it
    is ready. `file` and `service`: of docker compose. Durations in seconds."""

    adapter: AdapterName
    staging: Environment
    production: Environment
    on: DeployOn = "all"
    command: tuple[str, ...] = ()
    port: int = 8080
    health: str = "/"
    timeout: float = 60.0
    expires: float = 24 * 3600.0
    risk: Risk = field(default_factory=Risk)
    people: People = field(default_factory=People)
    file: str = "compose.yaml"
    service: str = "web"

    def environment(self, name: EnvironmentName) -> Environment:
        return self.staging if name == "staging" else self.production
