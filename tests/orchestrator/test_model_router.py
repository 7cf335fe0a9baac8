"""The user's word first, then one tier up for each round that failed."""

import pytest

from orchestrator.model_router import tier_for
from orchestrator.values import Defaults, Feature, Tier


@pytest.mark.parametrize(
    ("own", "default", "round_", "override", "tier"),
    [
        (None, None, 1, None, "haiku"),
        (None, None, 2, None, "sonnet"),
        (None, None, 9, None, "opus"),
        (None, "sonnet", 1, None, "sonnet"),
        ("opus", "haiku", 1, None, "opus"),
        ("haiku", "opus", 2, None, "sonnet"),
        ("opus", "opus", 3, "haiku", "haiku"),
    ],
)
def test_tier(
    own: Tier | None, default: Tier | None, round_: int, override: Tier | None, tier: Tier
) -> None:
    feature = Feature("a", "text", tier=own)
    assert tier_for(feature, Defaults(tier=default), round_, override) == tier
