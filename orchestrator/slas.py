"""What samples say: the state of an SLA, its compliance, its error budget and how fast it burns.

Burn rates and windows as in the SRE workbook, chapter 5 ("Alerting on SLOs"): a burn rate of 1
uses the whole budget up in exactly the SLO's window.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.sla import maintenance
from orchestrator.sla.values import STATES, HourSummary, Sample, Sla, SlaState

HOUR = 3600.0

#: (burn rate, long window, short window), seconds: 2% of a 30-day budget in an hour, 5% in six
#: hours, 10% in three days; the short window is a twelfth of the long one.
BURN_WINDOWS = ((14.4, HOUR, HOUR / 12), (6.0, 6 * HOUR, HOUR / 2), (1.0, 72 * HOUR, 6 * HOUR))


@dataclass(frozen=True, slots=True)
class Tally:
    """Samples that count: good and bad. Those of maintenance, and excluded ones, are left out."""

    good: int = 0
    bad: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.good + other.good, self.bad + other.bad)

    @property
    def total(self) -> int:
        return self.good + self.bad

    @property
    def ratio(self) -> float | None:
        """Share of good ones, 0..1; None when nothing counts."""
        return self.good / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Burn:
    """One pair of windows (seconds). Rates are None when a window has no samples that count."""

    threshold: float
    long: float
    short: float
    long_rate: float | None
    short_rate: float | None

    @property
    def burning(self) -> bool:
        """Both windows are at the threshold or above: it burns, and it still does."""
        rates = (self.long_rate, self.short_rate)
        return all(rate is not None and rate >= self.threshold for rate in rates)


@dataclass(frozen=True, slots=True)
class Standing:
    """An SLA over its window. `budget_left`: share of the error budget, below 0 when overspent;
    None when nothing counts. `met`: whether compliance is at the objective or above."""

    sla: str
    tally: Tally
    compliance: float | None
    budget_left: float | None
    met: bool | None
    burns: tuple[Burn, ...]


def measured(sla: Sla, value: float | None) -> SlaState:
    """The state that a value means, maintenance apart. None and what is no finite number: no
    data. A value at a threshold keeps the promise; beyond it breaks it."""
    if value is None or not math.isfinite(value):
        return "no_data"
    if _beyond(sla, value, sla.error):
        return "error"
    if sla.warn is not None and _beyond(sla, value, sla.warn):
        return "warn"
    return "ok"


def _beyond(sla: Sla, value: float, threshold: float) -> bool:
    return value > threshold if sla.breach == "above" else value < threshold


def judge(
    sla: Sla, now: float, value: float | None, detail: str = "", seconds: float = 0.0
) -> Sample:
    """The sample of a measurement at `now` (seconds since the epoch)."""
    state = measured(sla, value)
    held = "maintenance" if maintenance.is_open(sla.maintenance, now) else state
    kept = value if state != "no_data" else None
    return Sample(sla.name, now, held, state, kept, detail, seconds)


# ------------------------------------------------------------------------- compliance, budget


def tally(sla: Sla, counts: Mapping[str, int]) -> Tally:
    """Counts by state as good and bad; `sla.no_data` says what missing data is."""
    missing = counts.get("no_data", 0)
    good = counts.get("ok", 0) + counts.get("warn", 0)
    return Tally(
        good + (missing if sla.no_data == "good" else 0),
        counts.get("error", 0) + (missing if sla.no_data == "bad" else 0),
    )


def tally_since(
    sla: Sla, since: float, samples: Iterable[Sample], hours: Iterable[HourSummary] = ()
) -> Tally:
    """All of this SLA's samples at or after `since`; a summarised hour counts when it begins
    then or later."""
    counts: dict[str, int] = defaultdict(int)
    for sample in samples:
        if sample.sla == sla.name and sample.time >= since:
            counts[sample.state] += 1
    for hour in hours:
        if hour.sla == sla.name and hour.hour >= since:
            for state, number in hour.counts.items():
                counts[state] += number
    return tally(sla, counts)


def burn_rate(objective: float, counted: Tally) -> float | None:
    """How many times faster than allowed the budget is spent; None when nothing counts."""
    if counted.ratio is None:
        return None
    return (1.0 - counted.ratio) / (1.0 - objective)


def budget_spent(rate: float, over: float, window: float) -> float:
    """Share of the budget of `window` that a burn rate uses up in `over` (both in seconds)."""
    return rate * over / window


def time_to_exhaustion(rate: float, window: float) -> float:
    """Seconds until a whole budget is used up; infinite when nothing burns."""
    return window / rate if rate > 0 else math.inf


def detection_time(objective: float, error_ratio: float, alert_window: float, rate: float) -> float:
    """Seconds until an alert on `rate` over `alert_window` fires, when `error_ratio` of all fails
    from now on and nothing did before (workbook: (1 - SLO) / error ratio x window x rate)."""
    return (1.0 - objective) / error_ratio * alert_window * rate


def budget_left(objective: float, counted: Tally) -> float | None:
    """1 when nothing was bad, 0 when just all was spent, below when more was."""
    rate = burn_rate(objective, counted)
    return None if rate is None else 1.0 - rate


def standing(
    sla: Sla, now: float, samples: Sequence[Sample], hours: Sequence[HourSummary] = ()
) -> Standing:
    """Compliance over the SLA's window and the burn in each pair of windows, up to `now`."""
    own = [s for s in samples if s.sla == sla.name and s.time <= now]
    summed = [h for h in hours if h.sla == sla.name]

    def rate(seconds: float) -> float | None:
        return burn_rate(sla.objective, tally_since(sla, now - seconds, own, summed))

    counted = tally_since(sla, now - sla.window, own, summed)
    ratio = counted.ratio
    return Standing(
        sla=sla.name,
        tally=counted,
        compliance=ratio,
        budget_left=budget_left(sla.objective, counted),
        # A sum of samples against a share: rounding must not break a promise that was kept.
        met=None if ratio is None else ratio >= sla.objective - 1e-12,
        burns=tuple(
            Burn(threshold, long, short, rate(long), rate(short))
            for threshold, long, short in BURN_WINDOWS
        ),
    )


# ------------------------------------------------------------------------------- compaction


def summarize(samples: Iterable[Sample]) -> tuple[HourSummary, ...]:
    """One summary for each SLA and hour, in the order of hours and names."""
    groups: dict[tuple[float, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.time // HOUR * HOUR, sample.sla].append(sample)
    return tuple(_summary(sla, hour, group) for (hour, sla), group in sorted(groups.items()))


def _summary(sla: str, hour: float, samples: Sequence[Sample]) -> HourSummary:
    values = [s.value for s in samples if s.value is not None]
    counts = {state: sum(s.state == state for s in samples) for state in STATES}
    return HourSummary(
        sla=sla,
        hour=hour,
        counts={state: number for state, number in counts.items() if number},
        low=min(values, default=None),
        high=max(values, default=None),
        mean=math.fsum(values) / len(values) if values else None,
    )
