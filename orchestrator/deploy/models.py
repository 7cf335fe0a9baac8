"""The shape of `project.deploy` as pydantic models; each description finishes "must be ..."."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from orchestrator.approval import Risk, Strategy
from orchestrator.approval_requests import People
from orchestrator.deploy.values import AdapterName, Deploy, DeployOn, Environment, Smoke
from orchestrator.features import rules

_STRATEGY = "AUTO, OPTIONAL, REQUIRED or EXPERT"
_LINE = "a shell command in double quotes"
Line = Annotated[str, Field(min_length=1, max_length=rules.TEXT_LIMIT), AfterValidator(rules.text)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(rules.name)]
Place = Annotated[str, Field(pattern=r"^/.+$", max_length=400), AfterValidator(rules.name)]
Path = Annotated[str, Field(pattern=r"^/\S*$", max_length=2000)]


#: No option of ssh's: it does not begin with a dash.
HOST = r"^(ssh://)?[A-Za-z0-9_][A-Za-z0-9_.@:\[\]-]*$"
#: What the environments of an adapter must have.
_NEEDS = {"command": ("deploy", "current"), "ssh": ("host", "path")}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class SmokeEntry(_Strict):
    """A GET or a command."""

    get: Path | None = Field(default=None, description="a path such as /health")
    status: int = Field(default=200, ge=100, le=599, description="a status such as 200")
    contains: Name | None = Field(default=None, description="a text that the answer must contain")
    run: Line | None = Field(default=None, description=_LINE)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.get is None) == (self.run is None):
            raise ValueError("a smoke test has either `get` or `run`; write one of them")
        return self

    def value(self) -> Smoke:
        return Smoke(self.get or "", self.status, self.contains or "", self.run or "")


class EnvironmentEntry(_Strict):
    """Staging or production."""

    smoke: list[SmokeEntry] = Field(
        min_length=1, description="a list of at least one smoke test with get or run"
    )
    env: Annotated[dict[str, str], AfterValidator(rules.environment)] = Field(
        default={}, description="an object of names and string values"
    )
    listen: int = Field(default=0, ge=0, le=65535, description="a port, or 0 for any free one")
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None, description="an address that begins with http:// or https://"
    )
    deploy: Line | None = Field(default=None, description=_LINE)
    switch: Line | None = Field(default=None, description=_LINE)
    current: Line | None = Field(default=None, description=_LINE)
    roll_back: Line | None = Field(default=None, description=_LINE)
    candidate: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None, description="an address that begins with http:// or https://"
    )
    host: Annotated[str, Field(pattern=HOST)] | None = Field(
        default=None, description="a host such as deploy@web1, or ssh://deploy@web1:2222"
    )
    path: (
        Annotated[str, Field(pattern=r"^/.+$", max_length=400), AfterValidator(rules.name)] | None
    ) = Field(default=None, description="an absolute path on that host, such as /srv/app")
    config: Name | None = Field(
        default=None, description="the path of a file of ssh's own configuration"
    )

    def value(self) -> Environment:
        return Environment(
            smoke=tuple(test.value() for test in self.smoke),
            env=self.env,
            listen=self.listen,
            url=self.url or "",
            deploy=self.deploy or "",
            switch=self.switch or "",
            current=self.current or "",
            roll_back=self.roll_back or "",
            candidate=self.candidate or "",
            host=self.host or "",
            path=self.path or "",
            config=self.config or "",
        )


class ApprovalEntry(_Strict):
    """Who approves, and how risk is judged."""

    approvers: dict[Name, list[Name]] = Field(
        default={}, description='an object: name to further names such as ["slack:U012"]'
    )
    experts: list[Name] = Field(default=[], description="a list of names of approvers")
    at_least: Strategy = Field(default="AUTO", description=_STRATEGY)
    at_most: Strategy = Field(default="EXPERT", description=_STRATEGY)
    accepted: Line | None = Field(
        default=None, description="the owner's own words on why at_most is milder than the rules"
    )
    sensitive: list[Name] = Field(default=[], description="a list of globs such as pay/*")
    cost_usd: float | None = Field(default=50.0, ge=0, description="US dollars, or null for never")
    expires_hours: float = Field(
        default=24.0, gt=0, le=24 * 60, description="a number of hours above 0, at most 1440"
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = [name for name in self.experts if name not in self.approvers]
        if unknown:
            raise ValueError(f"experts: {rules.shown(unknown[0])} is no approver; add it there")
        return self


class DeployEntry(_Strict):
    """How the project is deployed."""

    on: DeployOn = Field(default="all", description="all, partial or demand")
    adapter: AdapterName = Field(description="process, command, compose or ssh")
    file: Name = Field(default="compose.yaml", description="the path of a compose file")
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        default="web", description="the name of a service in it"
    )
    command: list[Line] = Field(default=[], description="a list: a program and its arguments")
    port: int = Field(default=8080, ge=1, le=65535, description="a port from 1 to 65535")
    health: Path = Field(default="/", description="a path such as /health")
    timeout_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="seconds above 0, at most 3600"
    )
    staging: EnvironmentEntry = Field(description="an object with smoke")
    production: EnvironmentEntry = Field(description="an object with smoke")
    approval: ApprovalEntry = Field(
        default=ApprovalEntry(), description="an object with approvers, at_least, ..."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.adapter == "process" and not self.command:
            raise ValueError("the adapter process needs `command`; write what starts the service")
        for name, place in (("staging", self.staging), ("production", self.production)):
            needed = _NEEDS.get(self.adapter, ())
            if any(getattr(place, key) is None for key in needed):
                words = " and ".join(f"`{key}`" for key in needed)
                raise ValueError(f"{name}: the adapter {self.adapter} needs {words}")
        return self

    def value(self) -> Deploy:
        own = self.approval
        risk = Risk(
            own.at_least, own.at_most, own.accepted or "", tuple(own.sensitive), own.cost_usd
        )
        approvers = {name: tuple(others) for name, others in own.approvers.items()}
        return Deploy(
            adapter=self.adapter,
            staging=self.staging.value(),
            production=self.production.value(),
            on=self.on,
            command=tuple(self.command),
            port=self.port,
            health=self.health,
            timeout=self.timeout_seconds,
            expires=own.expires_hours * 3600,
            risk=risk,
            people=People(approvers, tuple(own.experts)),
            file=self.file,
            service=self.service,
        )
