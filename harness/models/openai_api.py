"""Asks a live model over an OpenAI-compatible API, streamed, through the `openai` SDK."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.models import openai_shapes, prices
from harness.models.sdk_errors import remedies
from harness.models.streaming import hear
from harness.models.tool_calls import model_name, tool_call
from harness.ports import ModelReply, ModelRequest
from orchestrator.errors import (
    MachineError,
    ModelRefusedError,
    ModelTimeoutError,
    ModelUnauthorizedError,
)
from orchestrator.values import Tier, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from orchestrator.routing.file import Provider

#: Seconds of silence within a stream; reasoning models think for long before they speak.
READ_SECONDS = 300.0

_STOPS = {"stop": "end_turn", "length": "max_tokens"}


class OpenAIModel:
    """A `Model` behind an endpoint that speaks Chat Completions. Never retries by itself."""

    source: Literal["live", "recorded", "scripted"] = "live"

    def __init__(
        self, name: str, provider: "Provider", key: str, *, read_seconds: float = READ_SECONDS
    ) -> None:
        """`name` is what its models' ids begin with, and what `genai-prices` calls it, if it does.
        Raises `ModelUnauthorizedError` for a key that no header can carry."""
        if not (key.isascii() and (key.isprintable() or not key)):
            raise ModelUnauthorizedError(
                f"{provider.key} holds a character that no key has, a line break perhaps: "
                "export it anew"
            )
        self._name = name
        self._provider = provider
        self._key = key
        # OpenAI's own newer models refuse the name that all others know.
        usual = "max_completion_tokens" if name == "openai" else "max_tokens"
        self._limit = provider.limit or usual
        self._remedies = remedies(provider.key or "its key", f"base_url of provider {name}")
        self._read_seconds = read_seconds
        self._client: AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()

    def model_id(self, tier: Tier) -> str:
        return prices.model_id(tier)

    def worst_case_usd(self, request: ModelRequest) -> float | None:
        """By bytes: what such a server counted last is no bound for what it counts next."""
        return prices.worst_case_usd(replace(request, input_bound=None))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Raises `ModelError` and its kinds, `MachineError` where the SDK is not installed."""
        client = await self._connected()
        import openai  # noqa: PLC0415 - late, for it costs start-up

        answer = Answer(request, self._name)
        asked: dict[str, Any] = {
            "model": request.model.removeprefix(f"{self._name}/"),
            "messages": openai_shapes.messages(request),
            self._limit: request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.tools:
            asked["tools"] = openai_shapes.tools(request)
        stream = client.chat.completions.create(**asked)
        return await hear(stream, answer, request, self._remedies, openai.OpenAIError)

    async def _connected(self) -> "AsyncOpenAI":
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(self._connect)
            return self._client

    def _connect(self) -> "AsyncOpenAI":
        try:
            from openai import (  # noqa: PLC0415 - late
                AsyncOpenAI,
                DefaultAsyncHttpxClient,
                Timeout,
            )
        except ImportError as error:
            raise MachineError(
                f"provider {self._name} needs the OpenAI SDK: pip install 'fibreflow[openai]'"
            ) from error
        from harness.models import guarded_http  # noqa: PLC0415 - late

        guards = guarded_http.settings(f"base_url of provider {self._name}")
        return AsyncOpenAI(
            # The SDK insists on one; a server of one's own that wants none takes any.
            api_key=self._key or "none",
            base_url=self._provider.base_url,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(**guards),
            timeout=Timeout(self._read_seconds, connect=15.0),
        )


@dataclass
class _Call:
    name: str = ""
    given: str = ""


@dataclass
class Answer:
    """A reply growing from the stream's chunks."""

    request: ModelRequest
    provider: str
    model: str = ""
    words: str = ""
    refusal: str = ""
    calls: dict[int, _Call] = field(default_factory=dict)
    usage: Usage | None = None
    finish: str | None = None
    begun: bool = False

    def add(self, chunk: Mapping[str, Any]) -> None:
        self.begun = True
        self.model = chunk.get("model") or self.model
        if chunk.get("usage") is not None:
            self.usage = usage_of(chunk["usage"])
        for choice in chunk.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish
            self._extend(choice.get("delta") or {})

    def reply(self) -> ModelReply:
        """Raises `ModelTimeoutError` when the stream broke off, `ModelMalformedError` when the
        input of a call is not JSON, `ModelRefusedError` when the model declined."""
        if self.finish is None:
            raise ModelTimeoutError("the stream was cut before the reply was complete")
        if self.finish == "content_filter" or (self.refusal and not self.calls):
            raise ModelRefusedError(f"{self.model} declined to go on: {self.refusal[:200]}")
        called = [self._called(index) for index in sorted(self.calls)]
        words = [{"type": "text", "text": self.words}] if self.words else []
        content = (*words, *(call for call in called if call is not None))
        named = self.model or self.request.model.partition("/")[2]
        model = f"{self.provider}/{model_name(named)}"
        said = bool(words or called)
        usage = prices.believable(self.usage, said_something=said) if self.usage else None
        return ModelReply(
            content=content,
            stop_reason=_STOPS.get(self.finish, "tool_use") if not called else self._stopped(),
            model=model,
            usage=usage,
            cost_usd=prices.reply_cost_usd(self.request.model, model, usage),
        )

    def _stopped(self) -> str:
        """Some servers say `stop` after a call as well."""
        return "max_tokens" if self.finish == "length" else "tool_use"

    def _extend(self, delta: Mapping[str, Any]) -> None:
        self.words += delta.get("content") or ""
        self.refusal += delta.get("refusal") or ""
        for position, part in enumerate(delta.get("tool_calls") or ()):
            # Some servers say each call whole and leave its number out.
            number = part.get("index")
            call = self.calls.setdefault(position if number is None else number, _Call())
            said = part.get("function") or {}
            call.name += said.get("name") or ""
            call.given += said.get("arguments") or ""

    def _called(self, index: int) -> dict[str, Any] | None:
        """Under an id of ours: theirs are missing on some servers, and repeat on others."""
        call = self.calls[index]
        own = f"toolu_{self.request.turn:03d}_{index}"
        return tool_call(own, call.name, call.given or "{}", cut_off=self.finish == "length")


def usage_of(said: Mapping[str, Any]) -> Usage | None:
    """None for what cannot be counts. Their input counts what was cached; ours does not."""
    details = said.get("prompt_tokens_details") or {}
    asked, answered = said.get("prompt_tokens"), said.get("completion_tokens")
    read, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
    if not all(prices.is_count(count) for count in (asked, answered, read, written)):
        return None
    assert isinstance(asked, int)
    assert isinstance(answered, int)
    if read + written > asked:
        return None
    return Usage(asked - read - written, answered, read, written)
