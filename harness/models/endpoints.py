"""Makes the live model of a run: Anthropic's, or the chains that `models.yaml` names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models import prices
from harness.models.anthropic_api import AnthropicModel
from harness.models.chained import ChainedModel, Link
from harness.models.openai_api import OpenAIModel
from harness.ports import Clock, Model
from harness.record.clock import SystemClock
from orchestrator.errors import InputError, ModelUnauthorizedError
from orchestrator.values import TIERS, Tier

if TYPE_CHECKING:
    from orchestrator.routing.file import Chains, Provider

FILE = "models.yaml"


def read(path: Path) -> "Chains":
    """Raises `InputError` with every problem of the file."""
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    from orchestrator.routing import file as model_file  # noqa: PLC0415 - most workspaces have none

    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from None
    return model_file.parse(data, str(path))


def asked(
    workspace: Path, environ: Mapping[str, str] | None = None
) -> Mapping[Tier, tuple[tuple[str, bool], ...]]:
    """What each tier asks in turn: a model's id, and whether it is free. Raises as `read`."""
    path = workspace / FILE
    given = read(path) if path.is_file() else None
    chains = given.tiers if given else {}
    free = {name for name, one in given.providers.items() if one.free} if given else set()
    return {
        tier: tuple(
            (id_, "/" in id_ and id_.partition("/")[0] in free)
            for id_ in chains.get(tier, [prices.model_id(tier, environ)])
        )
        for tier in TIERS
    }


def live_model(
    workspace: Path | None = None,
    clock: Clock | None = None,
    environ: Mapping[str, str] | None = None,
) -> Model:
    """`workspace` None: Anthropic's, whatever file lies about. `environ` stands in for
    `os.environ`. Raises `InputError` for a file that cannot be read, `ModelUnauthorizedError` for
    a key that is not set."""
    env = os.environ if environ is None else environ
    path = workspace / FILE if workspace is not None else None
    if path is None or not path.is_file():
        return AnthropicModel(env)
    given = read(path)
    making = _Making(given.providers, env)
    chains = {
        tier: tuple(making.link(id_) for id_ in given.tiers.get(tier, [prices.model_id(tier, env)]))
        for tier in TIERS
    }
    return ChainedModel(chains, clock or SystemClock())


@dataclass
class _Making:
    """One model for each provider, however often it is named."""

    providers: "Mapping[str, Provider]"
    environ: Mapping[str, str]

    def __post_init__(self) -> None:
        self._made: dict[str, Model] = {}

    def link(self, id_: str) -> Link:
        name, slash, _ = id_.partition("/")
        name = name if slash else ""
        if name not in self._made:
            self._made[name] = self._model(name)
        provider = self.providers.get(name)
        free, most = (provider.free, provider.max_tokens) if provider else (False, None)
        return Link(id_, self._made[name], free=free, most_tokens=most)

    def _model(self, name: str) -> Model:
        if not name:
            return AnthropicModel(self.environ)
        provider = self.providers[name]
        key = self.environ.get(provider.key, "")
        if provider.key and not key:
            raise ModelUnauthorizedError(
                f"{provider.key} is not set: export the key of provider {name}, or take {name} out "
                f"of {FILE}"
            )
        if provider.api == "anthropic":
            at = {"ANTHROPIC_BASE_URL": provider.base_url, "ANTHROPIC_API_KEY": key or "none"}
            return AnthropicModel(at, provider=name)
        return OpenAIModel(name, provider, key)
