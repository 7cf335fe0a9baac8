"""Notices on their way: who joins whom, what an outage collapses, and the words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sla.alerts import Notice
from orchestrator.sla.outbox import CHARS, STORY, Delivery, collapse, enqueue, worded
from orchestrator.sla.values import Route, Rule

SLACK, LOG = Route("slack", "#a"), Route("log")
RULES = {
    name: Rule(name, (name,), "critical" if name == "db" else "error", (SLACK, LOG), owner=name[0])
    for name in ("x", "xx", "y", "db")
}


def notice(rule: str, time: float, kind: Any = "firing", text: str = "") -> Notice:
    return Notice(f"{rule}@{time}/{kind}", kind, rule, "error", time, time, 1.0, text or rule)


def names(deliveries: tuple[Delivery, ...], route: Route = SLACK) -> list[list[str]]:
    return [[n.rule for n in d.notices] for d in deliveries if d.route == route]


def test_those_within_the_wait_go_together_and_each_route_has_its_own() -> None:
    waiting = enqueue((), [notice("x", 0)], RULES, group_wait=2)
    waiting = enqueue(waiting, [notice("y", 2)], RULES, group_wait=2)
    waiting = enqueue(waiting, [notice("db", 2.1)], RULES, group_wait=2)
    assert names(waiting) == names(waiting, LOG) == [["x", "y"], ["db"]]
    assert [d.due for d in waiting if d.route == SLACK] == [2, 4.1]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ((), [["x", "xx", "y"]]),
        (("owner",), [["x", "xx"], ["y"]]),
        (("severity",), [["x", "xx", "y"]]),
        (("sla",), [["x"], ["xx"], ["y"]]),
        (("owner", "severity"), [["x", "xx"], ["y"]]),
    ],
)
def test_groups(by: tuple[str, ...], expected: list[list[str]]) -> None:
    given_ = [notice("x", 0), notice("xx", 0), notice("y", 0)]
    assert names(enqueue((), given_, RULES, by, 2)) == expected


def test_what_was_tried_is_not_changed_for_its_key_may_be_known_there() -> None:
    (first, *_) = waiting = enqueue((), [notice("x", 0)], RULES, group_wait=2)
    tried = tuple(replace(d, tries=1, unsure=True) if d is first else d for d in waiting)
    after = enqueue(tried, [notice("y", 1)], RULES, group_wait=2)
    assert names(after) == [["x"], ["y"]]
    assert next(d for d in after if d.route == SLACK).key == first.key


def test_after_a_failure_all_but_the_unsure_become_one_in_order() -> None:
    queue = tuple(
        Delivery(SLACK, "g", 0, (notice(rule, t),), tries, unsure)
        for t, (rule, tries, unsure) in enumerate(
            [("x", 3, True), ("y", 1, False), ("db", 0, False), ("x", 0, False)]
        )
    )
    other = Delivery(LOG, "g", 0, (notice("y", 1),))
    after = collapse((*queue, other), SLACK)
    assert names(after) == [["x"], ["y", "db", "x"]]
    assert after[0].key == queue[0].key
    assert other in after


def test_an_outage_of_days_keeps_the_latest_of_each_rule() -> None:
    queue = tuple(Delivery(SLACK, "g", 0, (notice("x", t),)) for t in range(500))
    (after,) = collapse((*queue, Delivery(SLACK, "g", 0, (notice("y", 3),))), SLACK)
    assert [n.time for n in after.notices] == [*range(500 - STORY, 500), 3]


@given(st.lists(st.tuples(st.sampled_from(["x", "y"]), st.booleans()), max_size=12))
def test_collapsing_never_loses_the_last_word_of_a_rule(entries: list[tuple[str, bool]]) -> None:
    queue = tuple(
        Delivery(SLACK, "g", 0, (notice(rule, t),), 1, unsure)
        for t, (rule, unsure) in enumerate(entries)
    )
    after = [n for d in collapse(queue, SLACK) for n in d.notices]
    for rule in {rule for rule, _ in entries}:
        assert max(n.time for n in after if n.rule == rule) == max(
            t for t, (r, _) in enumerate(entries) if r == rule
        )


def test_one_line_says_what_where_and_since_when() -> None:
    text = worded(Delivery(SLACK, "g", 0, (notice("x", 3661, text="x is 4"),)))
    assert text == "[error] FIRING: x is 4 (since 01:01:01)"


def test_a_rule_that_spoke_often_has_one_line_with_its_story() -> None:
    said = (notice("x", 0), notice("x", 60, "resolved"), notice("x", 600), notice("y", 5))
    (x, y) = worded(Delivery(SLACK, "g", 0, said)).splitlines()
    assert x == (
        "[error] FIRING: x (since 00:10:00); 3 notices: "
        "firing 00:00:00, resolved 00:01:00, firing 00:10:00"
    )
    assert y.startswith("[error] FIRING: y")


def test_a_thousand_rules_fit_and_the_rest_is_counted() -> None:
    said = tuple(notice(f"r{n}", n, text="w" * 100) for n in range(1000))
    text = worded(Delivery(SLACK, "g", 0, said))
    assert len(text) <= CHARS
    told = len(text.splitlines()) - 1
    assert text.endswith(f"... and {1000 - told} more; see the status page")
