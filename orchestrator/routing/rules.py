"""The rules of routing as values: what a person may write in routing.yaml, and its meaning."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.errors import InputError
from orchestrator.values import TIERS, Tier

#: `...` in a phrase: within a sentence or two, not across the whole text.
_GAP = r"\b.{0,40}?\b"
_ALLOWED = re.compile(r"[\w '/.*+#-]+")


def _phrase(text: str) -> str:
    """Raises `ValueError` for a phrase that could never be found, or that finds everything."""
    words = text.replace("...", " ").split()
    if not words or not _ALLOWED.fullmatch(text):
        raise ValueError("must be words, where `*` ends a word and `...` stands between two")
    if any("*" in word[:-1] or word == "*" for word in words):
        raise ValueError("`*` stands for the rest of a word, so it comes last in it")
    if text.strip().startswith("...") or text.strip().endswith("..."):
        raise ValueError("`...` stands between two words")
    return text


_Phrase = Annotated[str, AfterValidator(_phrase)]
_Chance = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Size(_Strict):
    """Sizes of requests: characters of the text, tokens of the whole prompt."""

    short_characters: int = Field(default=50, ge=0)
    simple_tokens: int = Field(default=100, ge=0)
    large_prompt_tokens: int = Field(default=60_000, ge=1)


class GiveUpRules(_Strict):
    """`worth_usd`: a feature's worth; a round that costs more per expected pass is not played."""

    worth_usd: float = Field(default=50.0, gt=0)
    least_chance: float = Field(default=0.03, ge=0, lt=1)


class HistoryRules(_Strict):
    """When the workspace's own outcomes count, and how many attempts the rules weigh against."""

    least_attempts: int = Field(default=12, ge=1)
    weight: float = Field(default=12.0, gt=0)
    runs: int = Field(default=50, ge=0)


#: Rough, after SWE-bench Verified and Terminal-Bench 2.0; see docs/routing.md.
CHANCE: Mapping[Tier, Mapping[Tier, float]] = {
    "haiku": {"haiku": 0.80, "sonnet": 0.88, "opus": 0.92},
    "sonnet": {"haiku": 0.50, "sonnet": 0.62, "opus": 0.70},
    "opus": {"haiku": 0.20, "sonnet": 0.42, "opus": 0.60},
}


class Rules(_Strict):
    """All of routing.yaml. `chance[asked][tier]`: that one attempt on `tier` passes, where the
    words ask for `asked`."""

    words: dict[Tier, list[_Phrase]] = {}
    agents: dict[str, Tier] = {}
    size: Size = Size()
    try_cheaper_where_checked: bool = True
    chance: dict[Tier, dict[Tier, _Chance]] = {k: dict(v) for k, v in CHANCE.items()}
    give_up: GiveUpRules = GiveUpRules()
    history: HistoryRules = HistoryRules()


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase of the rules that stands in a text, and where (characters from its start)."""

    phrase: str
    tier: Tier
    at: int


def parse(data: Any, source: str) -> Rules:
    """The rules in a YAML file's data. Raises `InputError` with every problem at once."""
    try:
        rules = Rules.model_validate(data if data is not None else {})
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in one['loc']) or 'the file'}: {one['msg']}"
            for one in error.errors()
        ]
        raise InputError("\n".join([f"{source}: {len(lines)} problems", *lines])) from None
    missing = [
        f"chance.{asked}.{tier}"
        for asked in TIERS
        for tier in TIERS
        if tier not in rules.chance.get(asked, {})
    ]
    if missing:
        raise InputError(f"{source}: {', '.join(missing)} is missing: a number between 0 and 1")
    return rules


def find(rules: Rules, text: str) -> tuple[Found, ...]:
    """Every phrase of the rules in the text, the first in it first."""
    found = []
    for tier in TIERS:
        for phrase in rules.words.get(tier, ()):
            match = _pattern(phrase).search(text)
            if match is not None:
                found.append(Found(phrase, tier, match.start()))
    return tuple(sorted(found, key=lambda f: (f.at, -len(f.phrase))))


@cache
def _pattern(phrase: str) -> re.Pattern[str]:
    parts = [_words(part) for part in phrase.split("...")]
    return re.compile(_GAP.join(parts), re.IGNORECASE | re.DOTALL)


def _words(text: str) -> str:
    words = [
        re.escape(word[:-1]) + r"\w*" if word.endswith("*") else re.escape(word)
        for word in text.split()
    ]
    # Not \b: a phrase may end in a sign, as "c++" does.
    return r"(?<!\w)" + r"\s+".join(words) + r"(?!\w)"
