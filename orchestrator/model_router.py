"""Which tier an attempt runs on: the user's word first, then a cascade from cheap to dear."""

from orchestrator.values import TIERS, Defaults, Feature, Tier


def tier_for(
    feature: Feature, defaults: Defaults, round_number: int, override: Tier | None
) -> Tier:
    """`override` (--model) wins and never changes; otherwise each failed round climbs one tier
    from the feature's tier, else the defaults', else haiku."""
    if override is not None:
        return override
    start = TIERS.index(feature.tier or defaults.tier or "haiku")
    return TIERS[min(start + round_number - 1, len(TIERS) - 1)]
