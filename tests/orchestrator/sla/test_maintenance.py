"""Maintenance windows: cron in their own time zone, over midnight and daylight saving."""

from datetime import datetime

import pytest

from orchestrator.sla.maintenance import check_cron, check_zone, is_open
from orchestrator.sla.values import Window

NIGHTLY = Window("0 2 * * *", 1800.0, "Europe/Berlin")
OVER_MIDNIGHT = Window("30 23 * * 6", 7200.0)


@pytest.mark.parametrize(
    ("window", "moment", "open_"),
    [
        (NIGHTLY, "2026-11-21T00:59:59+00:00", False),
        (NIGHTLY, "2026-11-21T01:00:00+00:00", True),
        (NIGHTLY, "2026-11-21T01:29:59.900+00:00", True),
        (NIGHTLY, "2026-11-21T01:30:00+00:00", False),
        (NIGHTLY, "2026-07-01T00:10:00+00:00", True),  # summer time: two hours before UTC
        (NIGHTLY, "2026-07-01T01:10:00+00:00", False),
        (OVER_MIDNIGHT, "2026-11-21T23:29:00+00:00", False),  # a Saturday
        (OVER_MIDNIGHT, "2026-11-21T23:30:00+00:00", True),
        (OVER_MIDNIGHT, "2026-11-22T01:29:00+00:00", True),
        (OVER_MIDNIGHT, "2026-11-22T01:30:00+00:00", False),
        (OVER_MIDNIGHT, "2026-11-22T23:45:00+00:00", False),
    ],
)
def test_is_open(window: Window, moment: str, open_: bool) -> None:
    assert is_open([window], datetime.fromisoformat(moment).timestamp()) is open_


def test_any_of_several_and_none_of_none() -> None:
    moment = datetime.fromisoformat("2026-11-21T01:10:00+00:00").timestamp()
    assert is_open([OVER_MIDNIGHT, NIGHTLY], moment)
    assert not is_open([], moment)


@pytest.mark.parametrize("text", ["", "0 2", "61 2 * * *", "0 2 * * * *", "@daily", "a b c d e"])
def test_what_is_no_cron_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cron"):
        check_cron(text)


@pytest.mark.parametrize("text", ["", "Mars/Base", "../etc/passwd", "/etc/passwd"])
def test_what_is_no_time_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        check_zone(text)
