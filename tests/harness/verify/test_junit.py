"""JUnit reports, honest and hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.verify.junit import MAX_BYTES, Case, read_junit

HONEST = b"""<?xml version="1.0"?><testsuites><testsuite name="s">
<testcase classname="a.B" name="ok" time="0.1"/>
<testcase name="bad"><failure message="1 != 2">trace</failure></testcase>
<testcase name="broken"><error message="boom"/></testcase>
<testcase name="later"><skipped message="slow"/></testcase>
<testcase name="noisy"><system-out>failure</system-out></testcase>
</testsuite></testsuites>"""


def test_an_honest_report() -> None:
    assert read_junit(HONEST) == (
        Case("a.B::ok"),
        Case("bad", "failed", "1 != 2"),
        Case("broken", "failed", "boom"),
        Case("later", "skipped", "slow"),
        Case("noisy"),
    )


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<testsuite><testcase name="&b;"/></testsuite>"""
FILE = b"""<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<testsuite><testcase name="x">&a;</testcase></testsuite>"""


@pytest.mark.parametrize("data", [BOMB, FILE])
def test_entities_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="document type"):
        read_junit(data)


def test_too_large_or_too_deep() -> None:
    with pytest.raises(ValueError, match="larger than"):
        read_junit(b" " * (MAX_BYTES + 1))
    with pytest.raises(ValueError, match="too deep"):
        read_junit(b"<a>" * 100 + b"</a>" * 100)


@given(st.binary(max_size=200))
def test_anything_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="JUnit"):
        read_junit(b"<testsuite>" + data)


@pytest.mark.parametrize(
    "report",
    [
        b'<testsuites><testsuite errors="1"><testcase name="a"/></testsuite></testsuites>',
        b'<testsuite failures="2"><testcase name="a"/></testsuite>',
        b'<testsuite><testcase name="a"/><error message="boom"/></testsuite>',
    ],
)
def test_failures_outside_of_cases_count(report: bytes) -> None:
    assert [c.outcome for c in read_junit(report)].count("failed") == 1


def test_a_suite_that_counts_what_its_cases_tell_is_not_one_more() -> None:
    report = (
        b'<testsuite failures="1" errors="0"><testcase name="a"><failure/></testcase></testsuite>'
    )
    assert [c.name for c in read_junit(report)] == ["a"]
