"""models.yaml is read whole, or refused with every problem named."""

import pytest

from orchestrator import errors as e
from orchestrator.routing.file import parse

FILE = {
    "providers": {
        "groq": {"api": "openai", "base_url": "https://api.groq.com/openai/v1", "key": "GROQ_KEY"},
        "mine": {"api": "openai", "base_url": "http://127.0.0.1:8000/v1", "free": True},
    },
    "tiers": {"haiku": ["claude-haiku-5-5", "groq/llama-3.3"], "opus": "mine/qwen/qwen3"},
}


def test_a_file_is_read():
    chains = parse(FILE, "models.yaml")
    assert chains.tiers == {
        "haiku": ["claude-haiku-5-5", "groq/llama-3.3"],
        "opus": ["mine/qwen/qwen3"],
    }
    assert chains.providers["mine"].free and chains.providers["groq"].key == "GROQ_KEY"
    assert parse(None, "x").tiers == {}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tiers": {"huge": ["m"]}}, "tiers.huge"),
        ({"tiers": {"haiku": []}}, "tiers.haiku"),
        ({"tiers": {"haiku": ["other/m"]}}, "other/m"),
        ({"tiers": {"haiku": ["groq/"]}}, "groq/"),
        ({"tiers": {"haiku": ["m", "m"]}}, "twice"),
        ({"providers": {"a/b": FILE["providers"]["groq"]}, "tiers": {}}, "a/b"),
        ({"providers": {"x": {"api": "soap", "base_url": "https://h"}}, "tiers": {}}, "x.api"),
        ({"providers": {"x": {"api": "openai", "base_url": "h"}}, "tiers": {}}, "address"),
        ({"providers": {"x": {"api": "openai"}}, "tiers": {}}, "x.base_url"),
        ({"chains": {}}, "chains"),
    ],
)
def test_what_is_wrong_is_named(change, named):
    with pytest.raises(e.InputError, match="see docs/models") as caught:
        parse({**FILE, **change}, "models.yaml")
    assert named in str(caught.value)
