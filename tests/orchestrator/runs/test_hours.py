"""When work may begin: moments, quiet hours over midnight, and when to look again."""

from datetime import datetime, time

import pytest

from orchestrator.runs.hours import Hours, Standing, moment, span, standing

DAY = datetime(2026, 11, 21)
NIGHT = span("22:00-07:00")


def at(text: str, day: int = 21) -> datetime:
    return datetime.combine(DAY.replace(day=day), time.fromisoformat(text))


@pytest.mark.parametrize(
    ("hours", "now", "expected"),
    [
        (Hours(), at("12:00"), Standing()),
        (Hours(until=at("07:00")), at("06:59"), Standing(change=at("07:00"))),
        (Hours(until=at("07:00")), at("07:00"), Standing("it is past 07:00", over=True)),
        (Hours(not_before=at("22:00")), at("12:00"),
         Standing("not before 22:00", change=at("22:00"))),
        (Hours(not_before=at("22:00"), until=at("13:00")), at("12:00"),
         Standing("not before 22:00", change=at("13:00"))),
        (Hours(not_before=at("22:00")), at("22:00"), Standing()),
        (Hours(quiet=NIGHT), at("21:59"), Standing(change=at("22:00"))),
        (Hours(quiet=NIGHT), at("22:00"),
         Standing("quiet hours from 22:00 to 07:00", change=at("07:00", 22))),
        (Hours(quiet=NIGHT), at("03:00"),
         Standing("quiet hours from 22:00 to 07:00", change=at("07:00"))),
        (Hours(quiet=NIGHT), at("07:00"), Standing(change=at("22:00"))),
        (Hours(quiet=span("08:00-18:00"), until=at("09:00")), at("08:30"),
         Standing("quiet hours from 08:00 to 18:00", change=at("09:00"))),
    ],
)  # fmt: skip
def test_what_holds(hours: Hours, now: datetime, expected: Standing) -> None:
    assert standing(hours, now) == expected


def test_a_moment_is_its_next_occurrence_or_a_day_with_it() -> None:
    assert moment("07:00", at("06:00")) == at("07:00")
    assert moment("07:00", at("07:00")) == at("07:00", 22)
    assert moment("2026-12-01T07:00", at("06:00")) == datetime(2026, 12, 1, 7)


@pytest.mark.parametrize("text", ["", "7", "25:00", "07:00-07:00", "22:00", "soon"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        span(text)
