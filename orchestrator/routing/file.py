"""models.yaml as values: which providers there are, and which models each tier asks in turn."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from orchestrator.errors import InputError
from orchestrator.values import Tier


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("is not an address such as https://HOST/v1")
    return text


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class Provider(BaseModel):
    """One entry of `providers`. `key` names the variable that holds its key. `free`: its calls cost
    nothing. `max_tokens`: the most it may be asked for in one reply, `limit` what it calls that."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    api: Literal["anthropic", "openai"]
    base_url: Annotated[str, AfterValidator(_address)]
    key: str = ""
    free: bool = False
    max_tokens: int | None = Field(default=None, ge=1)
    limit: str | None = None


class Chains(BaseModel):
    """All of models.yaml. `tiers`: the models that each asks in turn, the first one first: ids of
    Anthropic's, or `PROVIDER/ID`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    providers: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], Provider] = {}
    tiers: dict[
        Tier, Annotated[list[str], BeforeValidator(_listed), Field(min_length=1, max_length=10)]
    ] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for tier, models in self.tiers.items():
            for model in models:
                provider, slash, ref = model.partition("/")
                if (slash and provider not in self.providers) or not (ref or not slash):
                    raise ValueError(
                        f"tiers.{tier}: {model!r} is not PROVIDER/MODEL with one of the providers"
                    )
            if len(set(models)) < len(models):
                raise ValueError(f"tiers.{tier}: names a model twice")
        return self


def parse(data: Any, source: str) -> Chains:
    """The chains in a YAML file's data. Raises `InputError` with every problem at once."""
    try:
        return Chains.model_validate(data if data is not None else {})
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in one['loc']) or 'the file'}: {one['msg']}"
            for one in error.errors()
        ]
        raise InputError("\n".join([f"{source}: see docs/models.md", *lines])) from None
