"""What verification observed about the attempts at a feature, as values that can be checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Of a check that passed: nothing but its word stands for it.
BY_EXIT = "judged by its exit status alone"


@dataclass(frozen=True)
class CrossTest:
    """One attempt-written test in the pool. `weight`: how often it was written independently."""

    id: str
    author: str | None
    weight: float = 1.0


@dataclass(frozen=True)
class Evidence:
    """What verification observed about one attempt.

    `usable`: applies, imports, breaks nothing that passed before. `acceptance` holds the trusted
    checks in the same order for every attempt; an unusable attempt may leave it empty, because
    nothing was run. `cross` has one outcome per `CrossTest` (None: not run); `behaviour` one
    digest per shared probe (None: not executed). `coverage` (of changed lines) and `quality` are
    0..1, `seconds` is the run time of verification; None is not measured, and never zero.
    """

    attempt: str
    usable: bool
    acceptance: tuple[bool, ...]
    cross: tuple[bool | None, ...] = ()
    behaviour: tuple[str | None, ...] = ()
    coverage: float | None = None
    quality: float | None = None
    seconds: float | None = None
    cost_usd: float | None = None

    @property
    def passed_all(self) -> bool:
        """Usable, and no trusted check failed. True without checks: a person decides then."""
        return self.usable and all(self.acceptance)

    @property
    def gate(self) -> tuple[bool, int]:
        """What comes before every belief: usable, then trusted checks passed."""
        return self.usable, sum(self.acceptance)


def alike(a: Evidence, b: Evidence) -> float | None:
    """Share of the probes both executed on which both did the same; None without such."""
    both = [x == y for x, y in zip(a.behaviour, b.behaviour, strict=False) if x and y]
    return sum(both) / len(both) if both else None


def check_share(what: str, value: float) -> None:
    """Raises `ValueError` unless `value` is a finite number between 0 and 1."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ValueError(f"{what} {value} must be between 0 and 1")


def validate(evidence: Sequence[Evidence], cross_tests: Sequence[CrossTest]) -> None:
    """Raises `ValueError` for evidence that contradicts itself: an attempt named twice, vectors
    of different lengths, a number that is not finite or outside its range.
    """
    names = [e.attempt for e in evidence]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"attempts named more than once in the evidence: {', '.join(twice)}")
    for test in cross_tests:
        if not math.isfinite(test.weight) or test.weight < 0:
            raise ValueError(f"cross test {test.id}: weight {test.weight} is not a finite number")
    judged = [e for e in evidence if e.usable or e.acceptance]
    _same_length("acceptance checks", {e.attempt: len(e.acceptance) for e in judged})
    probed = {e.attempt: len(e.behaviour) for e in evidence if e.behaviour}
    _same_length("behaviour probes", probed)
    for e in evidence:
        if e.cross and len(e.cross) != len(cross_tests):
            raise ValueError(
                f"attempt {e.attempt}: {len(e.cross)} cross outcomes "
                f"for {len(cross_tests)} cross tests"
            )
        _check_numbers(e)


def _same_length(what: str, lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in sorted(lengths.items()))
        raise ValueError(f"every attempt needs the same {what} in the same order: {told}")


def _check_numbers(e: Evidence) -> None:
    for name in ("coverage", "quality"):
        if (share := getattr(e, name)) is not None:
            check_share(f"attempt {e.attempt}: {name}", share)
    for name in ("seconds", "cost_usd"):
        value = getattr(e, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"attempt {e.attempt}: {name} {value} must be finite, 0 or more")
