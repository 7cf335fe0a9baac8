"""Names the models of the three tiers, and prices their calls from `genai-prices`."""

import json
import os
from collections.abc import Mapping
from typing import Any

from harness.ports import ModelRequest
from orchestrator.values import Tier, Usage

#: The one place where model ids stand; FIBREFLOW_MODEL_HAIKU and so on override them.
MODEL_IDS: Mapping[Tier, str] = {
    "haiku": "claude-haiku-5-5",
    "sonnet": "claude-sonnet-5-5",
    "opus": "claude-opus-5-5",
}

#: Tokens the provider adds to a request with tools, rounded up generously.
_OVERHEAD_TOKENS = 2_000


def model_id(tier: Tier, environ: Mapping[str, str] | None = None) -> str:
    """The id of a tier's model, as the environment says or as listed above."""
    env = os.environ if environ is None else environ
    return env.get(f"FIBREFLOW_MODEL_{tier.upper()}") or MODEL_IDS[tier]


#: No model reads or writes as many in one call; what claims more counts wrongly.
_MOST_TOKENS = 1_000_000_000


def is_count(value: Any) -> bool:
    """Whether what a provider says can be a number of tokens."""
    return type(value) is int and 0 <= value <= _MOST_TOKENS


def believable(usage: Usage, *, said_something: bool) -> Usage | None:
    """None where tokens that were there were not counted: that is unknown, and no zero."""
    asked = usage.input + usage.cache_read + usage.cache_write
    return None if not asked or (said_something and not usage.output) else usage


def cost_usd(model: str, usage: Usage) -> float | None:
    """Dollars that `usage` of one call cost; None when the model's price is unknown.

    `model` is an id of Anthropic's, or `PROVIDER/ID` with a provider's name in `genai-prices`.
    Only for single calls: some prices have cliffs that depend on the size of one request.
    """
    from genai_prices import (  # noqa: PLC0415 - late, for it costs start-up
        Usage as Priced,
    )
    from genai_prices import calc_price  # noqa: PLC0415 - late, for it costs start-up

    priced = Priced(
        # genai-prices counts cache reads and writes as part of the input.
        input_tokens=usage.input + usage.cache_read + usage.cache_write,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output,
    )
    provider, slash, ref = model.partition("/")
    if not slash:
        provider, ref = "anthropic", model
    try:
        return float(calc_price(priced, model_ref=ref, provider_id=provider).total_price)
    except LookupError:
        return None


def reply_cost_usd(asked: str, named: str, usage: Usage | None) -> float | None:
    """Dollars of a reply of the model `named` to a question for `asked`, by the dearer of the two:
    the bill may follow either. None where the usage, or the price of `named`, is unknown."""
    if usage is None:
        return None
    known = cost_usd(named, usage)
    return None if known is None else max(known, cost_usd(asked, usage) or 0.0)


def worst_case_usd(request: ModelRequest) -> float | None:
    """The most dollars a request can cost; None when the model's price is unknown.

    A token is at least one byte, so bytes bound the tokens where no closer bound is known;
    `input_bound` is for those whose counts are believed.
    Nothing is assumed to be cached: all of it is priced as plain input or as newly written
    cache, whichever is dearer.
    """
    parts: list[Any] = [list(request.system), list(request.tools), list(request.messages)]
    size = len(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    tokens = size + _OVERHEAD_TOKENS
    if request.input_bound is not None:
        tokens = min(tokens, request.input_bound)
    costs = [
        cost_usd(request.model, Usage(input=tokens, output=request.max_tokens)),
        cost_usd(request.model, Usage(cache_write=tokens, output=request.max_tokens)),
    ]
    known = [cost for cost in costs if cost is not None]
    return max(known) if known else None
