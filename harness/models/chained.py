"""Asks each tier's models in turn: when one has been failing for long, the next takes over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.ports import Clock, Model, ModelReply, ModelRequest
from orchestrator.errors import ModelError, ModelRejectedError
from orchestrator.failures import classify
from orchestrator.routing.chains import Health, failed, standing
from orchestrator.values import Tier


@dataclass(frozen=True, slots=True)
class Link:
    """One model of a chain. `free`: it costs nothing. `most_tokens`: what one reply may have."""

    id: str
    model: Model
    free: bool = False
    most_tokens: int | None = None


class ChainedModel:
    """A `Model` in front of others. `model_id` names the one that a tier asks now; whoever asks
    again after an error asks for that name anew, so that no patience stands behind another.
    """

    source: Literal["live", "recorded", "scripted"] = "live"

    def __init__(self, chains: Mapping[Tier, Sequence[Link]], clock: Clock) -> None:
        self._chains = chains
        self._clock = clock
        self._links = {link.id: link for chain in chains.values() for link in chain}
        self._health = {id_: Health() for id_ in self._links}
        #: Hears of every change, in words.
        self.on_change: Callable[[str], object] = lambda _text: None

    def model_id(self, tier: Tier) -> str:
        chain = [link.id for link in self._chains[tier]]
        now = self._clock.monotonic()
        return chain[standing([self._health[id_] for id_ in chain], now)]

    def worst_case_usd(self, request: ModelRequest) -> float | None:
        link = self._link(request)
        return 0.0 if link.free else link.model.worst_case_usd(_bounded(request, link))

    async def close(self) -> None:
        for model in {id(link.model): link.model for link in self._links.values()}.values():
            await model.close()

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Raises what the model asked raises; with no wait where another stands in for it."""
        link = self._link(request)
        try:
            reply = await link.model.reply(_bounded(request, link))
        except ModelError as error:
            other = self._passed_over(link.id, error)
            if other is None:
                raise
            raise type(error)(
                f"{error}; {other} is asked instead", retry_after=0.0, reply_begun=error.reply_begun
            ) from error
        self._health[link.id] = Health()
        return replace(reply, cost_usd=0.0) if link.free else reply

    def _passed_over(self, id_: str, error: ModelError) -> str | None:
        """The model that stands in for the one that failed; None when it is asked again itself."""
        now, before = self._clock.monotonic(), self._health[id_]
        after = self._health[id_] = failed(before, classify(error), error.retry_after, now)
        if after.until <= now:
            return None
        for tier, chain in self._chains.items():
            other = self.model_id(tier)
            if other != id_ and id_ in {link.id for link in chain}:
                if after.rests > before.rests:
                    rest = (after.until - now) / 60
                    self.on_change(f"{id_} rests for {rest:.0f} min, {other} is asked: {error}")
                return other
        return None

    def _link(self, request: ModelRequest) -> Link:
        if request.model not in self._links:
            raise ModelRejectedError(f"model {request.model!r} is in no chain of models.yaml")
        return self._links[request.model]


def _bounded(request: ModelRequest, link: Link) -> ModelRequest:
    if link.most_tokens is None or request.max_tokens <= link.most_tokens:
        return request
    return replace(request, max_tokens=link.most_tokens)
