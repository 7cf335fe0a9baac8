"""Asks a live model over Anthropic's Messages API, streamed, through the `anthropic` SDK."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from harness.models import prices
from harness.models.sdk_errors import remedies
from harness.models.streaming import hear
from harness.models.tool_calls import model_name, tool_call
from harness.ports import ModelReply, ModelRequest
from orchestrator.errors import (
    InputError,
    ModelMalformedError,
    ModelRefusedError,
    ModelTimeoutError,
    ModelUnauthorizedError,
)
from orchestrator.values import Tier, Usage

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

#: Seconds of silence within a stream; the API sends a ping every few seconds.
READ_SECONDS = 180.0
_ADDRESS = "https://api.anthropic.com"
_REMEDIES = remedies("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")


class AnthropicModel:
    """A `Model` behind api.anthropic.com, or whatever `ANTHROPIC_BASE_URL` names.

    Never retries: `harness.models.retries` does, by our table. The SDK is imported with the
    first question, because importing it takes longer than starting the program may.
    """

    source: Literal["live", "recorded", "scripted"] = "live"

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        provider: str = "",
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """`environ` stands in for `os.environ`; `provider`: whose endpoint it is, when it is not
        Anthropic's own: its models' ids begin with that name. Raises
        `ModelUnauthorizedError` without a key, `InputError` for an address that cannot be one."""
        self._environ = os.environ if environ is None else environ
        _check_address(self._environ.get("ANTHROPIC_BASE_URL", ""))
        self._key = self._environ.get("ANTHROPIC_API_KEY", "")
        if not self._key:
            raise ModelUnauthorizedError(
                "ANTHROPIC_API_KEY is not set: export a key of console.anthropic.com; for an "
                "endpoint of your own in ANTHROPIC_BASE_URL that wants none, any text will do"
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise ModelUnauthorizedError(
                "ANTHROPIC_API_KEY holds a character that no key has, a line break perhaps: "
                "export it anew"
            )
        self._prefix = f"{provider}/" if provider else ""
        self._address = self._environ.get("ANTHROPIC_BASE_URL") or _ADDRESS
        self._believed = urlsplit(self._address).hostname == urlsplit(_ADDRESS).hostname
        self._read_seconds = read_seconds
        self._client: AsyncAnthropic | None = None
        self._connecting = asyncio.Lock()

    def model_id(self, tier: Tier) -> str:
        return prices.model_id(tier, self._environ)

    def worst_case_usd(self, request: ModelRequest) -> float | None:
        """What others than Anthropic counted last is no bound for what they count next."""
        sure = self._believed
        return prices.worst_case_usd(request if sure else replace(request, input_bound=None))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Raises `ModelError` and its kinds, for a stream that breaks off as well."""
        client = await self._connected()
        import anthropic  # noqa: PLC0415 - late, for it costs start-up

        asked = request.model.removeprefix(self._prefix)
        answer = Answer(asked, asked=request.model, prefix=self._prefix)
        stream = client.messages.create(
            model=asked,
            max_tokens=request.max_tokens,
            system=list(request.system),  # type: ignore[arg-type] # shapes of the API, as dicts
            tools=list(request.tools),  # type: ignore[arg-type]
            messages=list(request.messages),  # type: ignore[arg-type]
            stream=True,
        )
        return await hear(stream, answer, request, _REMEDIES, anthropic.AnthropicError)

    async def _connected(self) -> "AsyncAnthropic":
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(self._connect)
            return self._client

    def _connect(self) -> "AsyncAnthropic":
        from anthropic import (  # noqa: PLC0415 - late
            AsyncAnthropic,
            DefaultAsyncHttpxClient,
            Timeout,
        )

        from harness.models import guarded_http  # noqa: PLC0415 - late

        return AsyncAnthropic(
            api_key=self._key,
            base_url=self._address,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(**guarded_http.settings("ANTHROPIC_BASE_URL")),
            # A reply may stream for long; what must not be long is silence.
            timeout=Timeout(self._read_seconds, connect=15.0),
        )


def _check_address(address: str) -> None:
    """What has no host would be found out by every attempt anew. An address may hold a key, so
    that no more than its scheme is shown."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address in them, a port that is no number
        usable = False
    if address and not usable:
        raise InputError(
            "ANTHROPIC_BASE_URL is not the address of a server: write it as http://HOST:PORT or "
            f"https://HOST, or unset it to ask {_ADDRESS}"
        )


@dataclass
class Answer:
    """A reply growing from the stream's events.

    The SDK's own accumulator accepts tool inputs that are cut off; a call that was not said in
    full must never run, so the parts are put together here and parsed strictly at the end.
    """

    model: str
    asked: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    inputs: dict[int, str] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    stop_reason: str | None = None
    begun: bool = False
    complete: bool = False
    counted: bool = False
    prefix: str = ""

    def add(self, event: Mapping[str, Any]) -> None:
        kind = event["type"]
        if kind == "message_start":
            self.begun = True
            message = event["message"]
            self.model = message.get("model") or self.model
            self._count(message.get("usage"))
        elif kind == "content_block_start":
            if event["index"] != len(self.blocks):
                raise ModelMalformedError(f"content block {event['index']} came out of order")
            self.blocks.append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            self._extend(event["index"], event["delta"])
        elif kind == "message_delta":
            self.stop_reason = event["delta"].get("stop_reason") or self.stop_reason
            self._count(event.get("usage"))
            # What was counted when the reply began is no count of its length.
            self.counted |= "output_tokens" in (event.get("usage") or {})
        elif kind == "message_stop":
            self.complete = True

    def reply(self) -> ModelReply:
        """Raises `ModelTimeoutError` when the stream broke off, `ModelMalformedError` when a tool
        input is not JSON, `ModelRefusedError` when the model declined."""
        if not self.complete or self.stop_reason is None:
            raise ModelTimeoutError("the stream was cut before the reply was complete")
        if not isinstance(self.stop_reason, str):
            raise ModelMalformedError(f"a reply that ended with {self.stop_reason!r:.200}")
        if self.stop_reason == "refusal":
            raise ModelRefusedError(f"{self.model} declined to go on")
        content = [self._finished(index) for index in range(len(self.blocks))]
        usage, model = self._usage(), f"{self.prefix}{model_name(self.model)}"
        return ModelReply(
            content=tuple(block for block in content if block is not None),
            stop_reason=self.stop_reason,
            model=model,
            usage=usage,
            cost_usd=prices.reply_cost_usd(self.asked or model, model, usage),
        )

    def _extend(self, index: int, delta: Mapping[str, Any]) -> None:
        block = self.blocks[index]
        if delta["type"] == "text_delta":
            block["text"] = block.get("text", "") + delta["text"]
        elif delta["type"] == "input_json_delta":
            self.inputs[index] = self.inputs.get(index, "") + delta["partial_json"]
        elif delta["type"] == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta["thinking"]
        elif delta["type"] == "signature_delta":
            block["signature"] = delta["signature"]

    def _finished(self, index: int) -> dict[str, Any] | None:
        """A whole block; None for a tool call that the length limit cut off."""
        block = {name: value for name, value in self.blocks[index].items() if value is not None}
        if block["type"] != "tool_use":
            if block["type"] == "text" and not isinstance(block.get("text"), str):
                raise ModelMalformedError("a block of text without any")
            return block
        given = self.inputs.get(index) or json.dumps(block.get("input", {}))
        cut_off = self.stop_reason == "max_tokens"
        return tool_call(block.get("id"), block.get("name"), given, cut_off=cut_off)

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        """Later figures replace earlier ones: the API counts cumulatively. What cannot be a count
        leaves the usage, and so the cost, unknown."""
        for name, value in (usage or {}).items():
            if prices.is_count(value):
                self.usage[name] = value
            elif name in ("input_tokens", "output_tokens"):
                self.usage.pop(name, None)

    def _usage(self) -> Usage | None:
        if not (self.counted and {"input_tokens", "output_tokens"} <= self.usage.keys()):
            return None
        said = Usage(
            input=self.usage["input_tokens"],
            output=self.usage["output_tokens"],
            cache_read=self.usage.get("cache_read_input_tokens", 0),
            cache_write=self.usage.get("cache_creation_input_tokens", 0),
        )
        return prices.believable(said, said_something=bool(self.blocks))
