"""Says which model of a tier's chain is asked: the first that has not been failing for long."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.failures import Failure

#: Seconds that a model rests at first when another takes over, doubled each time up to the most.
REST, MOST_REST = 60.0, 900.0
#: A provider that asks to wait for so many seconds or longer is not waited for.
LONG = 60.0


@dataclass(frozen=True, slots=True)
class Health:
    """How a model has been answering. Times are seconds of one clock. `failing_since`: of the first
    failure since it last answered; `until`: it is not asked before; `rests`: how often it was
    passed over since it last answered."""

    failing_since: float | None = None
    until: float = 0.0
    rests: int = 0


def failed(health: Health, failure: Failure, retry_after: float | None, now: float) -> Health:
    """The health after an error of the kind `failure`, met at `now`."""
    if failure.elsewhere is None:
        return health
    since = now if health.failing_since is None else health.failing_since
    told = retry_after or 0.0
    if told < LONG and now - since < failure.elsewhere:
        return Health(since, health.until, health.rests)
    rest = max(told, min(REST * 2.0**health.rests, MOST_REST))
    return Health(since, now + rest, health.rests + 1)


def standing(chain: Sequence[Health], now: float) -> int:
    """Which one to ask: the first that is not resting, else the one whose rest ends first."""
    awake = (n for n, health in enumerate(chain) if health.until <= now)
    return next(awake, min(range(len(chain)), key=lambda n: chain[n].until))
