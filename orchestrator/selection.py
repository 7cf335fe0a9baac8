"""The choice among attempts as a value, and the policy it follows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.evidence import check_share

OnNoConsensus = Literal["review", "best"]


@dataclass(frozen=True)
class Policy:
    """The weights (any scale; only their ratios count) and when a person must decide.

    `min_confidence` is the calibrated probability below which a person decides; 0 is never.
    `on_no_consensus`: "review" asks a person when the top three disagree, "best" takes the
    single best instead and says so; a missing trusted check asks a person in any case.
    """

    coverage: float = 40.0
    tests: float = 30.0
    quality: float = 20.0
    speed: float = 10.0
    min_consensus: float = 0.70
    min_confidence: float = 0.0
    on_no_consensus: OnNoConsensus = "review"

    def __post_init__(self) -> None:
        """Raises `ValueError` for a weight that is negative or not finite, when all are 0, for a
        limit outside 0..1 and for an unknown `on_no_consensus`."""
        weights = (self.coverage, self.tests, self.quality, self.speed)
        if not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
            raise ValueError(f"weights must be finite, not negative and not all zero: {weights}")
        check_share("min_consensus", self.min_consensus)
        check_share("min_confidence", self.min_confidence)
        if self.on_no_consensus not in ("review", "best"):
            raise ValueError(f'on_no_consensus "{self.on_no_consensus}" must be "review" or "best"')

    @property
    def weights(self) -> Mapping[str, float]:
        return {
            "coverage": self.coverage,
            "tests": self.tests,
            "quality": self.quality,
            "speed": self.speed,
        }


@dataclass(frozen=True)
class Ranked:
    """One attempt's place. `score` is 0..1; `components` holds what it was made of, measured
    parts only, so that an empty one means that nothing was measured, not that it scored zero.
    `belief` is the log posterior of being right up to a constant of this selection, None when
    nothing was executed; `agreement` its mean agreement with the others beyond chance (kappa);
    `off_middle` how far its score is from the median of many that behave alike.
    """

    attempt: str
    score: float
    usable: bool = True
    passed: int = 0
    checks: int = 0
    agreement: float | None = None
    components: tuple[tuple[str, float], ...] = ()
    cost_usd: float | None = None
    belief: float | None = None
    off_middle: float = 0.0


@dataclass(frozen=True)
class Selection:
    """The choice and why. `winner` None: no attempt may be merged. `consensus` is the share of
    executed behaviour on which the top three agree, of those that passed every trusted check.
    `confidence` is the calibrated probability that the winner is right, None when nothing was
    executed to calibrate it by.
    """

    winner: str | None
    ranking: tuple[Ranked, ...]
    consensus: float | None
    confidence: float | None
    needs_review: bool
    reasons: tuple[str, ...]
