"""Reads how a repository wants tickets worked on: `.github/fibreflow.yaml` of the base commit."""

from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.git import Repository
from orchestrator.errors import InputError
from orchestrator.tickets.handover import Terms

PATH = ".github/fibreflow.yaml"
_Text = Annotated[str, Field(min_length=1, max_length=4096)]


class TicketSettings(BaseModel):
    """Every key may be left out. `test` decides over patches; without it a person does."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    setup: _Text | None = None
    test: _Text | None = None
    protected: list[_Text] = []
    allow: list[_Text] = Field(default=[], description="globs of what tickets may change besides")
    bots: list[_Text] = Field(default=[], description="bots that may start work")
    attempts: int = Field(default=1, ge=1, le=10)
    rounds: int = Field(default=2, ge=1, le=5)
    budget_usd: float = Field(default=2.0, gt=0, le=1000)
    timeout_minutes: float = Field(default=15.0, gt=0, le=240)
    most_bytes: int = Field(default=400_000, ge=1, le=5_000_000)
    most_files: int = Field(default=50, ge=1, le=1000)
    binary: bool = False

    @property
    def terms(self) -> Terms:
        return Terms(
            (*self.protected, PATH),
            tuple(self.allow),
            self.most_bytes,
            self.most_files,
            self.binary,
        )


async def read_settings(repository: Repository, base: str) -> TicketSettings:
    """Raises `InputError` naming the key. What a working tree or a patch says never counts."""
    text = await repository.read(base, PATH)
    if text is None:
        return TicketSettings()
    try:
        return TicketSettings.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise InputError(f"{PATH} at {base[:12]} is not YAML: {error}") from error
    except ValidationError as error:
        rows = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise InputError(f"{PATH} at {base[:12]}: {rows}; see docs/tickets.md") from error
