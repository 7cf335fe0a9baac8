"""States, compliance and burn: against the SRE workbook's figures and a brute-force oracle."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import slas
from orchestrator.sla.values import DAY, STATES, Sample, Sla, Window
from orchestrator.slas import Tally

SLA = Sla("x", error=300.0, warn=200.0)
NOW = 1_800_000_000.0


# --------------------------------------------------------------------------------- states


@pytest.mark.parametrize(
    ("value", "breach", "state"),
    [
        (0.0, "above", "ok"),
        (200.0, "above", "ok"),
        (200.1, "above", "warn"),
        (300.0, "above", "warn"),
        (300.1, "above", "error"),
        (None, "above", "no_data"),
        (math.nan, "above", "no_data"),
        (math.inf, "above", "no_data"),
        (9.0, "below", "error"),
        (10.0, "below", "warn"),
        (20.0, "below", "ok"),
    ],
)
def test_states(value: float | None, breach: str, state: str) -> None:
    sla = SLA if breach == "above" else Sla("x", error=10.0, warn=20.0, breach="below")
    assert slas.measured(sla, value) == state


def test_maintenance_is_a_state_and_what_was_measured_is_kept() -> None:
    always = replace(SLA, maintenance=(Window("* * * * *", 3600.0),))
    sample = slas.judge(always, NOW, 400.0)
    assert (sample.state, sample.measured, sample.value) == ("maintenance", "error", 400.0)


# ------------------------------------------------------------- the workbook's worked figures


@pytest.mark.parametrize(
    ("rate", "days"),
    # Table 5-4: burn rates and time to complete budget exhaustion of a 30-day, 99.9% SLO.
    [(1.0, 30.0), (2.0, 15.0), (10.0, 3.0)],
)
def test_time_to_exhaustion(rate: float, days: float) -> None:
    assert slas.time_to_exhaustion(rate, 30 * DAY) == pytest.approx(days * DAY)


def test_a_total_outage_exhausts_three_nines_in_43_minutes() -> None:
    rate = slas.burn_rate(0.999, Tally(0, 100))
    assert rate == pytest.approx(1000.0)
    assert slas.time_to_exhaustion(1000.0, 30 * DAY) / 60 == pytest.approx(43.2)


@pytest.mark.parametrize(
    ("rate", "hours", "spent"),
    # Table 5-8: 2% of the budget in an hour, 5% in six, 10% in three days; and the 36 of
    # section 4 (5% in one hour).
    [(14.4, 1.0, 0.02), (6.0, 6.0, 0.05), (1.0, 72.0, 0.10), (36.0, 1.0, 0.05)],
)
def test_budget_spent_when_the_alert_fires(rate: float, hours: float, spent: float) -> None:
    assert slas.budget_spent(rate, hours * 3600, 30 * DAY) == pytest.approx(spent)


@pytest.mark.parametrize(
    ("error_ratio", "window", "rate", "seconds"),
    [
        (1.0, 600.0, 1.0, 0.6),  # section 1: ten minutes, total outage, 0.6 seconds
        (1.0, 36 * 3600.0, 1.0, 129.6),  # section 2: 36 hours, 2 minutes and 10 seconds
        (0.144, 3600.0, 14.4, 360.0),
    ],
)
def test_detection_time(error_ratio: float, window: float, rate: float, seconds: float) -> None:
    assert slas.detection_time(0.999, error_ratio, window, rate) == pytest.approx(seconds)


def test_error_ratios_that_reach_the_thresholds_of_three_nines() -> None:
    """14.4 x 0.1% = 1.44%, 6 x 0.1% = 0.6%, 1 x 0.1% = 0.1%."""
    for threshold, bad in ((14.4, 144), (6.0, 60), (1.0, 10)):
        rate = slas.burn_rate(0.999, Tally(10_000 - bad, bad))
        assert rate == pytest.approx(threshold)


def test_the_windows_are_those_of_the_workbook_and_the_short_is_a_twelfth() -> None:
    assert [(t, long / 3600, short / 60) for t, long, short in slas.BURN_WINDOWS] == [
        (14.4, 1.0, 5.0),
        (6.0, 6.0, 30.0),
        (1.0, 72.0, 360.0),
    ]
    assert all(long / short == 12 for _, long, short in slas.BURN_WINDOWS)


# ------------------------------------------------------------------------ the windows at work


def every_minute(states: dict[tuple[float, float], str], hours: float) -> list[Sample]:
    """A sample a minute over the last `hours`; `states`: (from, to) minutes ago -> state."""
    found = []
    for ago in range(int(hours * 60), -1, -1):
        state = next((s for (a, b), s in states.items() if b <= ago <= a), "ok")
        found.append(Sample("x", NOW - ago * 60, state, state, 1.0))  # type: ignore[arg-type]
    return found


def burning(sla: Sla, samples: list[Sample]) -> list[float]:
    found = slas.standing(sla, NOW, samples, slas.summarize(()))
    return [b.threshold for b in found.burns if b.burning]


def test_an_outage_of_three_minutes_burns_the_hour_and_stops_when_the_short_window_is_clean() -> (
    None
):
    sla = replace(SLA, objective=0.999)
    assert burning(sla, every_minute({(2, 0): "error"}, 72)) == [14.4, 6.0]
    assert burning(sla, every_minute({(12, 10): "error"}, 72)) == [6.0]
    assert burning(sla, every_minute({(60, 57): "error"}, 72)) == []


def test_a_slow_leak_burns_only_the_three_days() -> None:
    sla = replace(SLA, objective=0.999)
    leak = [
        replace(s, state="error") if int((NOW - s.time) / 60) % 600 == 50 else s
        for s in every_minute({}, 72)
    ]
    assert burning(sla, leak) == [1.0]


def test_nothing_burns_without_samples_and_nothing_is_met() -> None:
    found = slas.standing(SLA, NOW, [])
    assert (found.compliance, found.budget_left, found.met) == (None, None, None)
    assert not any(b.burning for b in found.burns)


@pytest.mark.parametrize(
    ("no_data", "good", "bad"), [("bad", 2, 2), ("good", 3, 1), ("excluded", 2, 1)]
)
def test_missing_data_counts_as_declared(no_data: str, good: int, bad: int) -> None:
    sla = replace(SLA, no_data=no_data)  # type: ignore[arg-type]
    counts = {"ok": 1, "warn": 1, "error": 1, "no_data": 1, "maintenance": 5}
    assert slas.tally(sla, counts) == Tally(good, bad)


def test_the_default_objective_is_met_at_exactly_95_per_cent() -> None:
    assert slas.standing(SLA, NOW, every_minute({(4, 0): "error"}, 99 / 60)).met
    assert not slas.standing(SLA, NOW, every_minute({(5, 0): "error"}, 99 / 60)).met


# ----------------------------------------------------------------------------- against an oracle

SAMPLES = st.lists(
    st.tuples(st.floats(0, 40 * DAY), st.sampled_from(STATES), st.sampled_from("xy")), max_size=80
)


def oracle(sla: Sla, samples: list[Sample], since: float) -> tuple[int, int]:
    good = bad = 0
    for sample in samples:
        if sample.sla != sla.name or sample.time < since:
            continue
        if sample.state in {"ok", "warn"} or (sample.state, sla.no_data) == ("no_data", "good"):
            good += 1
        if sample.state == "error" or (sample.state, sla.no_data) == ("no_data", "bad"):
            bad += 1
    return good, bad


@settings(max_examples=300, deadline=None)
@given(
    drawn=SAMPLES,
    objective=st.floats(0.5, 0.9999),
    no_data=st.sampled_from(["bad", "good", "excluded"]),
)
def test_standing_is_what_counting_by_hand_gives(
    drawn: list[tuple[float, str, str]], objective: float, no_data: str
) -> None:
    sla = replace(SLA, objective=objective, no_data=no_data)  # type: ignore[arg-type]
    samples = [Sample(n, NOW - ago, s, s) for ago, s, n in drawn]  # type: ignore[arg-type]
    found = slas.standing(sla, NOW, samples)
    good, bad = oracle(sla, samples, NOW - sla.window)
    assert (found.tally.good, found.tally.bad) == (good, bad)
    if good + bad:
        assert found.compliance == good / (good + bad)
        left = 1 - (bad / (good + bad)) / (1 - objective)
        assert found.budget_left == pytest.approx(left, rel=1e-6, abs=1e-6)
    for burn in found.burns:
        for seconds, rate in ((burn.long, burn.long_rate), (burn.short, burn.short_rate)):
            good, bad = oracle(sla, samples, NOW - seconds)
            expected = (bad / (good + bad)) / (1 - objective) if good + bad else None
            assert rate == (pytest.approx(expected, rel=1e-6, abs=1e-9) if expected else expected)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_compaction_to_hours_keeps_the_counts_of_whole_hours(seed: int) -> None:
    pick = random.Random(seed)
    start = NOW // 3600 * 3600
    samples = [
        Sample(pick.choice("xy"), start - pick.uniform(0, 20 * DAY), state, state, pick.random())  # type: ignore[arg-type]
        for state in pick.choices(STATES, k=200)
    ]
    old = [s for s in samples if s.time < start - DAY]
    new = [s for s in samples if s.time >= start - DAY]
    hours = slas.summarize(old)
    assert len({(h.sla, h.hour) for h in hours}) == len(hours)
    for days in (2, 3, 19):
        since = start - days * DAY
        raw = slas.tally_since(SLA, since, samples)
        assert slas.tally_since(SLA, since, new, hours) == raw
    for hour in hours:
        own = [s.value for s in old if s.sla == hour.sla and s.time // 3600 * 3600 == hour.hour]
        values = [v for v in own if v is not None]
        assert (hour.low, hour.high) == (min(values), max(values))
        assert hour.mean == pytest.approx(sum(values) / len(values))
